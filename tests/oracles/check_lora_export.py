"""Loads an exported LoRA in diffusers + peft and compares the UNet's prediction with the one that our program made.

    python tests/oracles/check_lora_export.py MODEL LORA.safetensors IN.safetensors OUT.safetensors

IN: sample, timestep, encoder_hidden_states; OUT: prediction (the files of `nabla probe unet --model MODEL --lora LORA`). Exit status 1 when they differ.
"""
import sys

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors.torch import load_file

TOLERANCE = 1e-5  # relative L2; a webui file stores halves on both sides, so it meets the same one

model, lora, inputs, outputs = sys.argv[1:5]
torch.set_num_threads(1)
unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
given, wanted = load_file(inputs), load_file(outputs)["prediction"]
call = {name: given[name] for name in ("sample", "timestep", "encoder_hidden_states")}
with torch.no_grad():
    base = unet(**call).sample
    state, alphas, metadata = StableDiffusionLoraLoaderMixin.lora_state_dict(lora, return_lora_metadata=True)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, network_alphas=alphas, unet=unet, metadata=metadata)
    prediction = unet(**call).sample
error = ((prediction - wanted).norm() / wanted.norm()).item()
effect = ((prediction - base).norm() / base.norm()).item()
print(f"relative error {error:.2e} (at most {TOLERANCE:.0e}); the LoRA changes the prediction by {effect:.2e}")
sys.exit(0 if error <= TOLERANCE else 1)
