"""A LoRA on every kind of layer that peft adapts (linear, 1x1 and 3x3 convolutions, each its own rank and alpha), for tests/diffusion/lora_test.cpp.

    python tests/oracles/lora_wide.py tests/data/parity/lora

Writes lora_wide_d.safetensors (diffusers' names, alphas in the metadata) and lora_wide_k.safetensors (kohya's names, those of transformers in LDM's numbering), and
expected_wide.safetensors with diffusers' and peft's output for the inputs of expected.safetensors.
"""
import json
import sys

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

TARGETS = ["to_q", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "conv1", "conv_shortcut", "downsamplers.0.conv", "conv_in", "linear_2"]
RANKS, ALPHAS = {"proj_in": 3, "conv1": 1}, {"proj_in": 4.5, "to_q": 1.0}
LDM = [("down_blocks.0.attentions.0", "input_blocks.1.1"), ("up_blocks.1.attentions.0", "output_blocks.2.1"), ("up_blocks.1.attentions.1", "output_blocks.3.1"),
       ("mid_block.attentions.0", "middle_block.1")]

torch.manual_seed(5)
torch.set_num_threads(1)
folder = sys.argv[1]
unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet")
inputs = load_file(f"{folder}/expected.safetensors")
unet.add_adapter(LoraConfig(r=2, lora_alpha=3.0, target_modules=TARGETS, rank_pattern=RANKS, alpha_pattern=ALPHAS))
for name, parameter in unet.named_parameters():
    if "lora_" in name:
        parameter.data = 0.4 * torch.randn(parameter.shape)
state = {key: value.contiguous() for key, value in get_peft_model_state_dict(unet).items()}
with torch.no_grad():
    output = unet(inputs["sample"], inputs["timestep"], encoder_hidden_states=inputs["encoder_hidden_states"]).sample
settings = {"unet.r": 2, "unet.lora_alpha": 3.0, "unet.target_modules": TARGETS, "unet.rank_pattern": RANKS, "unet.alpha_pattern": ALPHAS}
diffusers = {f"unet.{key}".replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): value for key, value in state.items()}
save_file(diffusers, f"{folder}/lora_wide_d.safetensors", {"format": "pt", "lora_adapter_metadata": json.dumps(settings, indent=2, sort_keys=True)})


def alpha_of(module):
    return next((alpha for target, alpha in ALPHAS.items() if module == target or module.endswith("." + target)), 3.0)


kohya = {}
for key, value in state.items():
    module, matrix = key.rsplit(".lora_", 1)
    named = module
    for name, ldm in LDM:
        named = named.replace(name, ldm)
    prefix = "lora_unet_" + named.replace(".", "_")
    kohya[prefix + (".lora_down.weight" if matrix.startswith("A") else ".lora_up.weight")] = value
    kohya[prefix + ".alpha"] = torch.tensor(alpha_of(module))
save_file(kohya, f"{folder}/lora_wide_k.safetensors", {"format": "pt"})
save_file({"adapted": output}, f"{folder}/expected_wide.safetensors")
print(len(state) // 2, "layers; change", ((output - inputs["base"]).norm() / inputs["base"].norm()).item(), file=sys.stderr)
