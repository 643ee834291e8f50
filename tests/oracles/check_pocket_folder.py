"""Opens a model folder with diffusers' StableDiffusionPipeline, samples with fixed noise, and compares each step with `nabla sample`.

    python tests/oracles/check_pocket_folder.py NABLA MODEL [--lora pytorch_lora_weights.safetensors] [--steps 20] [--guidance 5] [--eta 1] [--prompt TEXT ...]

With --lora both sides load the same LoRA file; the check then also wants the LoRA to change the pictures. Exit status 1 when latents, predictions or pictures
differ by more than the tolerance (relative L2 of a step).
"""
import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4


def noise_for(pipe, options):
    generator = torch.Generator().manual_seed(options.seed)
    side = pipe.unet.config.sample_size
    shape = (len(options.prompt), pipe.unet.config.in_channels, side, side)
    return dict(start_noise=torch.randn(shape, generator=generator), step_noise=torch.randn(options.steps, *shape, generator=generator))


def sample_with_diffusers(pipe, noise, options):
    """The pipeline's own loop; only the scheduler's noise is ours."""
    latents, predictions = [noise["start_noise"]], []
    step = pipe.scheduler.step

    @functools.wraps(step)  # the pipeline reads the signature to see whether eta is taken
    def step_with_noise(model_output, timestep, sample, **arguments):
        arguments.pop("generator", None)
        result = step(model_output, timestep, sample, variance_noise=noise["step_noise"][len(predictions)], **arguments)
        predictions.append(model_output)
        latents.append(result[0])
        return result

    pipe.scheduler.step = step_with_noise
    try:
        images = pipe(options.prompt, latents=noise["start_noise"], num_inference_steps=options.steps, guidance_scale=options.guidance, eta=options.eta,
                      output_type="pt").images
    finally:
        pipe.scheduler.step = step
    return dict(latents=torch.stack(latents), predictions=torch.stack(predictions), timesteps=pipe.scheduler.timesteps, images=images)


def sample_with_nabla(noise, options, folder):
    noise_file, trajectory = os.path.join(folder, "noise.safetensors"), os.path.join(folder, "trajectory.safetensors")
    save_file(noise, noise_file)
    command = [options.nabla, "sample", "--model", options.model, "--noise", noise_file, "--dump-trajectory", trajectory,
               "--out", os.path.join(folder, "pictures"),
               "--steps", str(options.steps), "--guidance", str(options.guidance), "--eta", str(options.eta), "--quiet"]
    for prompt in options.prompt:
        command += ["--prompt", prompt]
    if options.lora:
        command += ["--lora", options.lora]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    pictures = json.loads(printed)["pictures"]
    assert pictures and all(os.path.getsize(picture) > 0 for picture in pictures), printed
    return load_file(trajectory)


def relative_error(value, wanted):
    return ((value.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30)).item()


def differences(ours, theirs):
    assert torch.equal(ours["timesteps"].long(), theirs["timesteps"].long()), "the step tables differ"
    errors = {}
    for name in ("latents", "predictions", "images"):
        assert ours[name].shape == theirs[name].shape, f"{name}: {tuple(ours[name].shape)} here, {tuple(theirs[name].shape)} in diffusers"
        steps = zip(ours[name], theirs[name]) if name != "images" else [(ours[name], theirs[name])]
        errors[name] = max(relative_error(value, wanted) for value, wanted in steps)
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nabla")
    parser.add_argument("model")
    parser.add_argument("--lora")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--eta", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt", action="append")
    options = parser.parse_args()
    options.prompt = options.prompt or ["a large red star", "two small blue circles"]
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(options.model)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe, options)
    without_lora = sample_with_diffusers(pipe, noise, options)["images"] if options.lora else None
    if options.lora:
        pipe.load_lora_weights(options.lora)
    theirs = sample_with_diffusers(pipe, noise, options)
    with tempfile.TemporaryDirectory() as folder:
        ours = sample_with_nabla(noise, options, folder)
    errors = differences(ours, theirs)
    for name, error in errors.items():
        print(f"{name}: relative error {error:.1e} (at most {TOLERANCE:.0e})")
    effect = relative_error(theirs["images"], without_lora) if options.lora else None
    if options.lora:
        print(f"the LoRA changes the pictures by {effect:.1e}")
    sys.exit(0 if max(errors.values()) <= TOLERANCE and effect != 0.0 else 1)


if __name__ == "__main__":
    main()
