"""Tiny random networks of diffusers and transformers with inputs, outputs and vector-Jacobian products, for tests/diffusion/network_parity_test.cpp.

    python tests/oracles/make_network_bundles.py tests/data/parity

Each folder NAME/ holds a component as diffusers saves it (config.json, weights) and bundle.safetensors: inputs and outputs in float64.
"""
import os
import sys

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

root = sys.argv[1]
torch.set_num_threads(1)
# What the two precisions of the oracle itself may differ by: well under the tests' tolerances.
FLOAT32_ERROR, FLOAT32_GRADIENT_ERROR = 3e-6, 3e-5

UNETS = {
    # Two layers a block, three heads, a latent that does not halve.
    "unet_two_layers": (dict(block_out_channels=(12, 24), layers_per_block=2, cross_attention_dim=10, attention_head_dim=3, norm_num_groups=6,
                             down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")), (9, 13)),
    # One layer a block, heads that differ by block, a latent that does not halve twice.
    "unet_one_layer": (dict(block_out_channels=(6, 12, 18), layers_per_block=1, cross_attention_dim=7, attention_head_dim=(1, 2, 3), norm_num_groups=3,
                            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")), (6, 11)),
    # Attention in the middle blocks only, one group, the other order of sine and cosine, three channels in and two out.
    "unet_other_order": (dict(block_out_channels=(4, 8, 8), layers_per_block=1, cross_attention_dim=5, attention_head_dim=2, norm_num_groups=1,
                              flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-4, in_channels=3, out_channels=2,
                              down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                              up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")), (5, 8)),
}
VAES = {
    "vae_two_layers": (dict(block_out_channels=(8, 12, 16), layers_per_block=2, norm_num_groups=4), (20, 28)),
    "vae_one_layer": (dict(block_out_channels=(6, 9), layers_per_block=1, norm_num_groups=3, latent_channels=3, scaling_factor=0.5), (10, 14)),
}
TEXTS = {
    # The end is found by its id, or (id 2) by the largest id.
    "text_quick_gelu": dict(hidden_act="quick_gelu", num_attention_heads=3, hidden_size=24, intermediate_size=40, num_hidden_layers=3, eos_token_id=57),
    "text_gelu": dict(hidden_act="gelu", num_attention_heads=1, hidden_size=10, intermediate_size=14, num_hidden_layers=1, eos_token_id=2),
}
VISIONS = {
    "vision_gelu": dict(hidden_act="gelu", image_size=12, patch_size=4, num_attention_heads=3, hidden_size=24, num_hidden_layers=2),
    "vision_quick_gelu": dict(hidden_act="quick_gelu", image_size=14, patch_size=7, num_attention_heads=2, hidden_size=12, num_hidden_layers=1),
}


def fill(module):
    """Values at which every part of the network matters."""
    for name, parameter in sorted(module.named_parameters()):
        norm = parameter.dim() == 1 and name.endswith("weight")
        spread = 0.2 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
        parameter.data = (1.0 if norm else 0.0) + spread * torch.randn(parameter.shape)
    return module


def differentiate(outputs, inputs, cotangent):
    return torch.autograd.grad(outputs, inputs, cotangent, retain_graph=True)


def write(name, module, evaluate, inputs):
    """evaluate(module, inputs) -> outputs by name; both precisions must agree before the float64 one is written."""
    folder = f"{root}/{name}"
    module.save_pretrained(folder)
    single = evaluate(module, inputs)
    double = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
    outputs = evaluate(module.double(), double)
    for key, value in outputs.items():
        error = ((single[key].double() - value).norm() / value.norm()).item()
        assert error < (FLOAT32_GRADIENT_ERROR if key.startswith("grad_") else FLOAT32_ERROR), (name, key, error)
    save_file({key: value.detach().contiguous() for key, value in {**double, **outputs}.items()}, f"{folder}/bundle.safetensors")
    print(name, sum(os.path.getsize(f"{folder}/{file}") for file in os.listdir(folder)), "bytes", file=sys.stderr)


def evaluate_unet(unet, given):
    sample, context = (given[key].clone().requires_grad_() for key in ("sample", "encoder_hidden_states"))
    prediction = unet(sample, given["timestep"], context).sample
    grad_sample, grad_context = differentiate(prediction, (sample, context), given["cotangent"])
    return dict(prediction=prediction, grad_sample=grad_sample, grad_encoder_hidden_states=grad_context)


def evaluate_vae(vae, given):
    moments = vae.encode(given["image"]).latent_dist
    latents = given["latents"].clone().requires_grad_()
    decoded = vae.decode(latents).sample
    return dict(mean=moments.mean, logvar=moments.logvar, decoded=decoded, grad_latents=differentiate(decoded, latents, given["cotangent"])[0])


def evaluate_text(text, given):
    output = text(given["input_ids"])
    return dict(last_hidden_state=output.last_hidden_state, pooled=output.pooler_output)


def evaluate_vision(vision, given):
    pixels = given["pixels"].clone().requires_grad_()
    embeds = vision(pixels).image_embeds
    return dict(image_embeds=embeds, grad_pixels=differentiate(embeds, pixels, given["cotangent"])[0])


def write_unet(name, config, size):
    unet = fill(UNet2DConditionModel(sample_size=16, **config))
    rows, channels = 3, (unet.config.in_channels, unet.config.out_channels)
    write(name, unet, evaluate_unet,
          dict(sample=torch.randn(rows, channels[0], *size), timestep=torch.tensor([981, 41, 0]),
               encoder_hidden_states=torch.randn(rows, 5, config["cross_attention_dim"]), cotangent=torch.randn(rows, channels[1], *size)))


def write_vae(name, config, size):
    blocks = len(config["block_out_channels"])
    vae = fill(AutoencoderKL(sample_size=16, down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks, **config))
    latent = [2, vae.config.latent_channels] + [length >> (blocks - 1) for length in size]
    write(name, vae, evaluate_vae, dict(image=torch.randn(2, 3, *size), latents=torch.randn(latent), cotangent=torch.randn(2, 3, *size)))


def write_text(name, config):
    text = fill(CLIPTextModel(CLIPTextConfig(vocab_size=60, max_position_embeddings=9, bos_token_id=56, pad_token_id=57, projection_dim=8, **config)))
    input_ids = torch.randint(3, 56, (3, 9))
    for row, end in enumerate((8, 4, 1)):  # the end once last, else repeated as padding
        input_ids[row, end:] = 57
    write(name, text, evaluate_text, dict(input_ids=input_ids))


def write_vision(name, config):
    vision = fill(CLIPVisionModelWithProjection(CLIPVisionConfig(intermediate_size=20, projection_dim=10, **config)))
    size = config["image_size"]
    write(name, vision, evaluate_vision, dict(pixels=torch.randn(2, 3, size, size), cotangent=torch.randn(2, 10)))


for number, (name, (config, size)) in enumerate(UNETS.items()):
    torch.manual_seed(number)
    write_unet(name, config, size)
for number, (name, (config, size)) in enumerate(VAES.items()):
    torch.manual_seed(100 + number)
    write_vae(name, config, size)
for number, (name, config) in enumerate(TEXTS.items()):
    torch.manual_seed(200 + number)
    write_text(name, config)
for number, (name, config) in enumerate(VISIONS.items()):
    torch.manual_seed(300 + number)
    write_vision(name, config)
