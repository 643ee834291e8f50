"""A tiny UNet with a peft LoRA (alpha differs from the rank) in all four file dialects and its outputs, for tests/diffusion/lora_test.cpp.

    python tests/oracles/lora.py tests/data/parity/lora
"""
import json
import os
import sys

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

RANK, ALPHA = 2, 5.0
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]

torch.manual_seed(3)
torch.set_num_threads(1)
folder = sys.argv[1]
config = dict(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(4, 8), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
              up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=6, attention_head_dim=2, norm_num_groups=2)


def base_unet():
    unet = UNet2DConditionModel(**config)
    generator = torch.Generator().manual_seed(11)
    for name, parameter in sorted(unet.named_parameters()):
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = centre + 0.25 * torch.randn(parameter.shape, generator=generator)
    return unet


def old_dialect(state):
    """2023's names; they have no alpha, so the scale goes into the up matrix."""
    renamed = {}
    for key, value in state.items():
        module, matrix = key.rsplit(".lora.", 1)
        module = module.removesuffix(".0")
        attention, name = module.rsplit(".", 1)
        renamed[f"{attention}.processor.{name}_lora.{matrix}"] = value * (ALPHA / RANK) if matrix.startswith("up") else value
    return renamed


unet = base_unet()
unet.save_pretrained(f"{folder}/unet")
inputs = dict(sample=torch.randn(3, 4, 6, 8), timestep=torch.tensor([981, 301, 1]), encoder_hidden_states=torch.randn(3, 5, 6))
base = unet(**inputs).sample.detach()
unet.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
for name, parameter in unet.named_parameters():
    if "lora_" in name:
        parameter.data = 0.4 * torch.randn(parameter.shape)

plain = {f"unet.{key}": value.contiguous() for key, value in get_peft_model_state_dict(unet).items()}
settings = {"unet.r": RANK, "unet.lora_alpha": ALPHA, "unet.target_modules": TARGETS, "unet.rank_pattern": {}}
metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(settings, indent=2, sort_keys=True)}
diffusers = convert_state_dict_to_diffusers(plain)
kohya = {key.replace("unet.", "lora_unet_", 1) if key.startswith("unet.") else key: value for key, value in convert_state_dict_to_kohya(plain).items()}
kohya = {key: torch.tensor(ALPHA) if key.endswith(".alpha") else value for key, value in kohya.items()}
save_file(plain, f"{folder}/lora_p.safetensors", metadata)
save_file(diffusers, f"{folder}/lora_d.safetensors", metadata)
save_file(old_dialect(diffusers), f"{folder}/lora_o.safetensors", {"format": "pt"})
save_file(kohya, f"{folder}/lora_k.safetensors", {"format": "pt"})

output = unet(**inputs).sample
parameters = {name: parameter for name, parameter in unet.named_parameters() if "lora_" in name}
cotangent = torch.randn_like(output)
gradients = torch.autograd.grad(output, list(parameters.values()), cotangent)
expected = dict(inputs, base=base, adapted=output.detach(), cotangent=cotangent)
for name, gradient in zip(parameters, gradients):
    expected["grad." + name.replace(".default", "").replace("base_layer.", "")] = gradient
unet.fuse_lora()
for name, parameter in unet.named_parameters():
    if name.endswith("base_layer.weight"):
        expected["merged." + name.replace(".base_layer", "")] = parameter.detach()
save_file({name: value.contiguous() for name, value in expected.items()}, f"{folder}/expected.safetensors")

for dialect in "pdok":
    other = base_unet()
    state, alphas, read = StableDiffusionLoraLoaderMixin.lora_state_dict(f"{folder}/lora_{dialect}.safetensors", return_lora_metadata=True)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, network_alphas=alphas, unet=other, metadata=read)
    error = (other(**inputs).sample - output).norm() / output.norm()
    print(f"dialect {dialect}: diffusers reads it with relative error {error:.1e}", file=sys.stderr)
    assert error < 1e-6, dialect
print(sum(os.path.getsize(os.path.join(root, file)) for root, _, files in os.walk(folder) for file in files), "bytes", file=sys.stderr)
