"""Step tables and steps of diffusers' schedulers, for tests/diffusion/transition_kernel_test.cpp.

    python tests/oracles/scheduler.py > tests/data/parity/scheduler.json

DDIMScheduler's alphas are replaced by the same in double (float32 betas), so that the two sides can be held to rounding; DPMSolverMultistepScheduler
keeps float32 sigmas, which bounds its tolerance.
"""
import json

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

SD15 = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False, steps_offset=1, clip_sample=False)
CASES = [
    # configuration, steps, eta
    (SD15, 50, 1.0),
    (SD15, 20, 0.0),
    (SD15, 30, 0.3),
    (SD15, 1, 1.0),
    (dict(SD15, timestep_spacing="trailing"), 50, 1.0),
    (dict(SD15, timestep_spacing="trailing"), 7, 0.7),
    (dict(SD15, timestep_spacing="trailing"), 48, 1.0),  # halves, which numpy's rounding decides
    (dict(SD15, timestep_spacing="linspace"), 25, 1.0),
    (dict(SD15, timestep_spacing="linspace", steps_offset=0), 6, 0.5),
    (dict(SD15, set_alpha_to_one=True), 10, 1.0),
    (dict(SD15, clip_sample=True), 10, 1.0),
    (dict(SD15, clip_sample=True, clip_sample_range=0.4, steps_offset=0), 12, 0.0),
    ({}, 10, 1.0),  # class defaults: linear betas, clipping, alpha 1 at the end
    (dict(num_train_timesteps=17, beta_end=0.3, clip_sample=False), 5, 1.0),
]


def inputs():
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(2)]


def use_double_alphas(scheduler):
    scheduler.alphas_cumprod = torch.cumprod(1.0 - scheduler.betas.double(), 0)
    one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = one if scheduler.config.set_alpha_to_one else scheduler.alphas_cumprod[0]


def ddim_case(config, steps, eta):
    scheduler = DDIMScheduler(**config)
    use_double_alphas(scheduler)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    x, eps = inputs()
    rows = []
    for t in sorted({timesteps[0], timesteps[len(timesteps) // 2], timesteps[-1]}, reverse=True):
        previous = t - scheduler.config.num_train_timesteps // steps
        variance = scheduler._get_variance(t, previous)
        zeros = torch.zeros_like(x) if eta > 0 else None
        mean = scheduler.step(eps, t, x, eta=eta, variance_noise=zeros).prev_sample
        alpha_next = scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
        rows.append(dict(timestep=t, next_timestep=max(previous, 0), alpha_bar=scheduler.alphas_cumprod[t].item(), alpha_bar_next=float(alpha_next),
                         std=eta * float(variance) ** 0.5, mean=mean.tolist()))
    return dict(config=config, sampler="ddim", steps=steps, eta=eta, timesteps=timesteps, rows=rows)


def sde_case(steps):
    scheduler = DPMSolverMultistepScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=1,
                                            algorithm_type="sde-dpmsolver++", timestep_spacing="linspace", final_sigmas_type="sigma_min")
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    x, eps = inputs()
    rows = []
    for index in sorted({0, steps // 2, steps - 1}):
        scheduler._step_index = index
        clean = scheduler.convert_model_output(eps, sample=x)
        mean = scheduler.dpm_solver_first_order_update(clean, sample=x, noise=torch.zeros_like(x))
        with_noise = scheduler.dpm_solver_first_order_update(clean, sample=x, noise=torch.ones_like(x))
        rows.append(dict(timestep=timesteps[index], std=(with_noise - mean)[0].item(), mean=mean.tolist()))
    return dict(config=SD15, sampler="sde-dpm-solver++", steps=steps, eta=1.0, timesteps=timesteps, rows=rows)


x, eps = inputs()
cases = [ddim_case(*case) for case in CASES] + [sde_case(steps) for steps in (20, 6, 50)]
lines = ",\n".join(json.dumps(case) for case in cases)
print(f'{{"sample": {json.dumps(x.tolist())}, "prediction": {json.dumps(eps.tolist())}, "cases": [\n{lines}\n]}}')
