"""Whole trajectories of diffusers' samplers with given noise in float32, for tests/diffusion/trajectory_parity_test.cpp.

    python tests/oracles/trajectories.py tests/data/parity

Every spacing of DDIMScheduler with and without noise, with alpha 1 or alpha[0] at the end, with and without clipping; DDPMScheduler where its rule for the step before
is the same; first-order SDE-DPM-Solver++. The UNet is that of tests/data/parity/lora; guidance is applied in float32 as pipelines do. Writes trajectories.json (what was
asked) and trajectories.safetensors (noise, and the latents after the last step of each case).
"""
import itertools
import json
import sys

import diffusers.schedulers.scheduling_ddpm as scheduling_ddpm
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from safetensors.torch import save_file

SCHEDULE = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
MOST_STEPS = 12


def cases():
    for number, (spacing, eta, alpha_one, clip) in enumerate(itertools.product(("leading", "trailing", "linspace"), (0.0, 0.5, 1.0), (False, True), (False, True))):
        config = dict(SCHEDULE, timestep_spacing=spacing, set_alpha_to_one=alpha_one, clip_sample=clip, steps_offset=number % 2, clip_sample_range=1.0 if number % 3 else 0.7)
        yield dict(kind="ddim", config=config, steps=(10, 7, 12)[number % 3], eta=eta, guidance=(1.0, 3.5)[number % 2])
    for offset, steps in ((1, 10), (0, 7)):
        config = dict(SCHEDULE, timestep_spacing="leading", set_alpha_to_one=True, clip_sample=False, steps_offset=offset)
        yield dict(kind="ddpm", config=config, steps=steps, eta=1.0, guidance=3.5)
    for steps, guidance in ((10, 1.0), (7, 3.5), (12, 3.5)):
        config = dict(SCHEDULE, timestep_spacing="leading", set_alpha_to_one=False, clip_sample=False, steps_offset=1)
        yield dict(kind="sde-dpm-solver++", config=config, steps=steps, eta=1.0, guidance=guidance)


def scheduler_of(case):
    if case["kind"] == "ddim":
        return DDIMScheduler(**case["config"])
    if case["kind"] == "ddpm":
        return DDPMScheduler(**{key: value for key, value in case["config"].items() if key != "set_alpha_to_one"})
    return DPMSolverMultistepScheduler(**SCHEDULE, solver_order=1, algorithm_type="sde-dpmsolver++", timestep_spacing="linspace", final_sigmas_type="sigma_min")


def guided(unet, latents, timestep, case, prompt, negative):
    if case["guidance"] == 1.0:
        return unet(latents, timestep, encoder_hidden_states=prompt).sample
    both = unet(torch.cat([latents, latents]), timestep, encoder_hidden_states=torch.cat([negative, prompt])).sample
    unconditional, conditional = both.chunk(2)
    return unconditional + case["guidance"] * (conditional - unconditional)


def step(scheduler, case, prediction, timestep, latents, noise):
    if case["kind"] == "ddim":
        return scheduler.step(prediction, timestep, latents, eta=case["eta"], variance_noise=noise if case["eta"] > 0 else None).prev_sample
    if case["kind"] == "ddpm":
        scheduling_ddpm.randn_tensor = lambda *args, **kwargs: noise
        return scheduler.step(prediction, timestep, latents).prev_sample
    return scheduler.step(prediction, timestep, latents, variance_noise=noise).prev_sample


torch.manual_seed(21)
torch.set_num_threads(1)
folder = sys.argv[1]
unet = UNet2DConditionModel.from_pretrained(f"{folder}/lora/unet")
exact_unet = UNet2DConditionModel.from_pretrained(f"{folder}/lora/unet").double()
tensors = dict(start_noise=torch.randn(1, 4, 8, 8), step_noise=torch.randn(MOST_STEPS, 1, 4, 8, 8), prompt_embeds=torch.randn(1, 5, 6), negative_embeds=torch.randn(1, 5, 6))
listed = []


def last_latents(network, case, given):
    scheduler = scheduler_of(case)
    scheduler.set_timesteps(case["steps"])
    latents = given["start_noise"]
    for index, timestep in enumerate(scheduler.timesteps):
        prediction = guided(network, latents, timestep, case, given["prompt_embeds"], given["negative_embeds"])
        latents = step(scheduler, case, prediction, timestep, latents, given["step_noise"][index])
    assert torch.isfinite(latents).all(), case
    return latents.contiguous(), scheduler.timesteps.tolist()


with torch.no_grad():
    exact_tensors = {name: tensor.double() for name, tensor in tensors.items()}
    for number, case in enumerate(cases()):
        latents, timesteps = last_latents(unet, case, tensors)
        exact, _ = last_latents(exact_unet, case, exact_tensors)
        # How far float32 takes diffusers itself from what it computes in float64.
        rounding = ((latents - exact).norm() / exact.norm()).item()
        tensors[f"latents.{number}"] = latents
        listed.append(dict(case, timesteps=timesteps, rounding=float(f"{rounding:.2g}")))
with open(f"{folder}/trajectories.json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(case) for case in listed) + "\n]\n")
save_file(tensors, f"{folder}/trajectories.safetensors")
print(len(listed), "trajectories, largest latent", max(t.abs().max().item() for name, t in tensors.items() if name.startswith("latents")), file=sys.stderr)
