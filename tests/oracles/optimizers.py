"""Steps of torch's AdamW and of Lion under diffusers' learning-rate schedules, and diffusers' average of weights, for tests/learner/optimizer_test.cpp.

    python tests/oracles/optimizers.py tests/data/parity/optimizers
"""
import json
import os
import sys

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

STEPS, SIZE = 12, 7
LR, DECAY = 0.03, 0.2
SCHEDULES = [("constant", 0, 5), ("constant_with_warmup", 3, 6), ("linear", 0, 8), ("linear", 3, 12), ("cosine", 0, 8), ("cosine", 4, 12), ("cosine", 1, 2)]

torch.manual_seed(5)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of "Symbolic discovery of optimization algorithms" (Chen et al. 2023)."""

    def __init__(self, parameters, lr, betas, weight_decay):
        super().__init__(parameters, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                momentum = self.state[parameter].setdefault("m", torch.zeros_like(parameter))
                direction = torch.sign(beta1 * momentum + (1 - beta1) * parameter.grad)
                parameter -= group["lr"] * (direction + group["weight_decay"] * parameter)
                momentum.mul_(beta2).add_((1 - beta2) * parameter.grad)


def factors(name, warmup, updates):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=updates)
    values = []
    for _ in range(updates):
        values.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return values


def trajectory(make, start, gradients):
    parameter = torch.nn.Parameter(start.clone())
    optimizer = make([parameter])
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=STEPS)
    states = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        scheduler.step()
        states.append(parameter.detach().clone())
    return torch.stack(states)


def average(values, decay):
    parameter = torch.nn.Parameter(torch.zeros(1))
    ema = EMAModel([parameter], decay=decay)
    averages = []
    for value in values:
        parameter.data.fill_(value)
        ema.step([parameter])
        averages.append(ema.shadow_params[0].item())
    return averages


folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
start, gradients = torch.randn(SIZE), torch.randn(STEPS, SIZE)
adamw = trajectory(lambda p: torch.optim.AdamW(p, lr=LR, betas=(0.8, 0.95), eps=1e-6, weight_decay=DECAY), start, gradients)
lion = trajectory(lambda p: Lion(p, lr=LR, betas=(0.9, 0.99), weight_decay=DECAY), start, gradients)
save_file({"start": start, "gradients": gradients, "adamw": adamw, "lion": lion}, os.path.join(folder, "steps.safetensors"))
values = torch.randn(30).tolist()
facts = {
    "steps": {"lr": LR, "weight_decay": DECAY, "warmup": 2, "scheduler": "cosine"},
    "schedules": [{"scheduler": name, "warmup": warmup, "updates": updates, "factors": factors(name, warmup, updates)} for name, warmup, updates in SCHEDULES],
    "average": [{"decay": decay, "values": values, "averages": average(values, decay)} for decay in (0.6, 0.9999)],
}
with open(os.path.join(folder, "facts.json"), "w") as file:
    json.dump(facts, file, indent=1)
