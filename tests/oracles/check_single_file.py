"""Checks `nabla convert` against diffusers: a small model goes folder -> single file -> folder, and from a .ckpt that torch.save wrote, and diffusers reads each form.

    python tests/oracles/check_single_file.py NABLA tests/data/parity/pocket_tokenizer

from_single_file takes the configurations of the first folder, so nothing is fetched.
"""
import shutil
import subprocess
import sys
import tempfile

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

nabla, tokenizer_folder = sys.argv[1:]
tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
torch.manual_seed(7)
torch.set_num_threads(1)


def convert(*arguments):
    print(subprocess.run([nabla, "convert", *arguments], check=True, capture_output=True, text=True).stdout.strip())


def weights(pipe):
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    return {f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items() if not name.endswith("position_ids")}


def check(name, pipe):
    given = weights(pipe)
    assert given.keys() == expected.keys(), given.keys() ^ expected.keys()
    wrong = [key for key in expected if not torch.equal(given[key], expected[key])]
    assert not wrong, wrong[:5]
    assert pipe.tokenizer("a large red star").input_ids == tokenizer("a large red star").input_ids
    print(f"diffusers reads {name}: {len(given)} tensors equal")


with tempfile.TemporaryDirectory() as folder:
    unet = UNet2DConditionModel(sample_size=64, block_out_channels=(32, 64), layers_per_block=2, cross_attention_dim=64, attention_head_dim=8,
                                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    vae = AutoencoderKL(block_out_channels=(32, 64), layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                        latent_channels=4, sample_size=512)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, eos_token_id=2))
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    shutil.copytree(tokenizer_folder, f"{folder}/tokenizer")  # beside the single file, where nabla looks for it
    StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
                            requires_safety_checker=False).save_pretrained(f"{folder}/first")
    convert(f"{folder}/first", f"{folder}/single.safetensors")
    convert(f"{folder}/single.safetensors", f"{folder}/second")
    second = StableDiffusionPipeline.from_pretrained(f"{folder}/second", local_files_only=True)
    expected = weights(StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
                                               feature_extractor=None, requires_safety_checker=False))
    check("the folder", second)
    single = StableDiffusionPipeline.from_single_file(f"{folder}/single.safetensors", config=f"{folder}/second", local_files_only=True, safety_checker=None)
    check("the single file", single)
    torch.save({"epoch": 1, "state_dict": load_file(f"{folder}/single.safetensors")}, f"{folder}/single.ckpt")
    convert(f"{folder}/single.ckpt", f"{folder}/third")
    check("the folder of the .ckpt", StableDiffusionPipeline.from_pretrained(f"{folder}/third", local_files_only=True))
