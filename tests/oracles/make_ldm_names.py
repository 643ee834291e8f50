"""Names of Stable Diffusion v1.5's tensors in LDM's single files and in diffusers, paired by diffusers' own conversion, for tests/diffusion/ldm_names_test.cpp.

    python tests/oracles/make_ldm_names.py > tests/data/parity/ldm_names.json
"""
import json

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import CLIPTextConfig, CLIPTextModel

LEVELS, LAYERS = 4, 2


def both(module):
    return [f"{module}.weight", f"{module}.bias"]


def unet_resnet(block, shortcut):
    parts = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"] + ["skip_connection"] * shortcut
    return [name for part in parts for name in both(f"{block}.{part}")]


def transformer(block):
    inner = f"{block}.transformer_blocks.0"
    names = both(f"{block}.norm") + both(f"{block}.proj_in") + both(f"{block}.proj_out")
    for attention in ("attn1", "attn2"):
        names += [f"{inner}.{attention}.{part}.weight" for part in ("to_q", "to_k", "to_v")] + both(f"{inner}.{attention}.to_out.0")
    return names + [name for part in ("norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2") for name in both(f"{inner}.{part}")]


def unet_names():
    """The published UNetModel: channel_mult 1 2 4 4, attention on the first three levels."""
    widths = [1, 2, 4, 4]
    names = both("time_embed.0") + both("time_embed.2") + both("input_blocks.0.0") + both("out.0") + both("out.2")
    skips, width, block = [1], 1, 1
    for level, out in enumerate(widths):
        for _ in range(LAYERS):
            names += unet_resnet(f"input_blocks.{block}.0", width != out) + (transformer(f"input_blocks.{block}.1") if level < 3 else [])
            width = out
            skips.append(width)
            block += 1
        if level < LEVELS - 1:
            names += both(f"input_blocks.{block}.0.op")
            skips.append(width)
            block += 1
    names += unet_resnet("middle_block.0", False) + transformer("middle_block.1") + unet_resnet("middle_block.2", False)
    block = 0
    for level, out in reversed(list(enumerate(widths))):
        for layer in range(LAYERS + 1):
            skips.pop()  # joined, so the width always changes
            names += unet_resnet(f"output_blocks.{block}.0", True) + (transformer(f"output_blocks.{block}.1") if level < 3 else [])
            if layer == LAYERS and level > 0:
                names += both(f"output_blocks.{block}.{2 if level < 3 else 1}.conv")
            block += 1
    return names


def vae_resnet(block, shortcut):
    return [name for part in ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * shortcut for name in both(f"{block}.{part}")]


def vae_names():
    """The published AutoencoderKL: ch_mult 1 2 4 4."""
    widths = [1, 2, 4, 4]
    names = both("quant_conv") + both("post_quant_conv")
    for side in ("encoder", "decoder"):
        names += both(f"{side}.conv_in") + both(f"{side}.norm_out") + both(f"{side}.conv_out")
        names += vae_resnet(f"{side}.mid.block_1", False) + vae_resnet(f"{side}.mid.block_2", False)
        names += [name for part in ("norm", "q", "k", "v", "proj_out") for name in both(f"{side}.mid.attn_1.{part}")]
    width = 1
    for level, out in enumerate(widths):
        for layer in range(LAYERS):
            names += vae_resnet(f"encoder.down.{level}.block.{layer}", width != out)
            width = out
        names += both(f"encoder.down.{level}.downsample.conv") if level < LEVELS - 1 else []
    for level, out in reversed(list(enumerate(widths))):
        for layer in range(LAYERS + 1):
            names += vae_resnet(f"decoder.up.{level}.block.{layer}", width != out)
            width = out
        names += both(f"decoder.up.{level}.upsample.conv") if level > 0 else []
    return names


def paired(ldm_names, convert, expected):
    """Each tensor holds its number, by which it is found again behind the conversion."""
    converted = convert({name: torch.full((1, 1, 1, 1), float(number)) for number, name in enumerate(ldm_names)})
    assert set(converted) == set(expected), (set(converted) ^ set(expected))
    return {diffusers: ldm_names[int(tensor.flatten()[0])] for diffusers, tensor in sorted(converted.items())}


with torch.device("meta"):
    unet = UNet2DConditionModel(cross_attention_dim=768)
    blocks = (("DownEncoderBlock2D",) * LEVELS, ("UpDecoderBlock2D",) * LEVELS)
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=LAYERS, down_block_types=blocks[0], up_block_types=blocks[1])
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12))
full = [name if name.startswith("text_model.") else f"text_model.{name}" for name, _ in text.named_parameters()]
pairs = {
    "unet": paired([f"model.diffusion_model.{name}" for name in unet_names()], lambda given: convert_ldm_unet_checkpoint(given, {"layers_per_block": LAYERS}),
                   [name for name, _ in unet.named_parameters()]),
    "vae": paired([f"first_stage_model.{name}" for name in vae_names()],
                  lambda given: convert_ldm_vae_checkpoint(given, {"down_block_types": blocks[0], "up_block_types": blocks[1]}), [name for name, _ in vae.named_parameters()]),
    "text_encoder": paired([f"cond_stage_model.transformer.{name}" for name in full], convert_ldm_clip_checkpoint, full),
}
assert {key: len(value) for key, value in pairs.items()} == {"unet": 686, "vae": 248, "text_encoder": 196}
print(json.dumps(pairs, indent=0))
