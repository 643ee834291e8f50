"""Terms and losses of the official release on tiny random networks, by differentiating log-probabilities, for tests/probe/objective_verbs_test.cpp.

    python tests/oracles/official_parity.py tests/data/parity

official/ holds unet, flow, vae and text_encoder as diffusers and transformers save them, lora.safetensors (peft's names), terms.safetensors (inputs and
outputs of `nabla probe terms`), loss.safetensors (inputs of `nabla probe loss`), one file of gradients a case, stepped.safetensors (the LoRA
after AdamW's steps) and facts.json. Scores are torch.autograd's derivatives of Gaussian log-densities whose means come from the predicted clean latents, as DDIMScheduler writes them.
"""
import json
import math
import os
import sys

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel

root = sys.argv[1]
folder = f"{root}/official"
os.makedirs(folder, exist_ok=True)
torch.manual_seed(5)
torch.set_num_threads(1)
torch.backends.cuda.enable_flash_sdp(False)  # the fused attention of the CPU has no second derivative

STEPS, GUIDANCE = 10, 3.0
ROWS = [(1, 0), (6, 0), (9, 1), (0, 0), (9, 1)]  # step and whether it counts as terminal
PROMPTS = ["a red star", "two blue rings", "a large green cross", "", "three gray rings"]
BETA, REVERSE, LAMBDA = 40.0, 1.3, 7.0

unet_config = dict(sample_size=8, block_out_channels=(4, 8), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=6, attention_head_dim=2, norm_num_groups=2)


def fill(module, size=0.3):
    """Values at which every part of the network matters; they are float32 numbers."""
    for name, parameter in sorted(module.named_parameters()):
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = centre + size * torch.randn(parameter.shape)
    return module


def save(component, name):
    component.save_pretrained(f"{folder}/{name}")
    return component.double().requires_grad_(False)


unet = save(fill(UNet2DConditionModel(**unet_config)), "unet")
flow = save(fill(UNet2DConditionModel(**unet_config)), "flow")
blocks = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
vae = save(fill(AutoencoderKL(sample_size=16, block_out_channels=(2, 4), norm_num_groups=2, down_block_types=blocks[0], up_block_types=blocks[1])), "vae")
tokenizer = AutoTokenizer.from_pretrained(f"{root}/pocket_tokenizer")
text = save(fill(CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=6, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
                                              max_position_embeddings=16, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id))), "text_encoder")
scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False)
scheduler.set_timesteps(STEPS)
scheduler.save_pretrained(f"{folder}/scheduler")

unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
lora = {name: parameter for name, parameter in unet.named_parameters() if "lora_" in name}
for parameter in lora.values():
    parameter.data = (0.3 * torch.randn(parameter.shape)).double()
save_file({f"unet.{key}": value.float().contiguous() for key, value in get_peft_model_state_dict(unet).items()}, f"{folder}/lora.safetensors")
flow.requires_grad_(True)

timestep = torch.tensor([int(scheduler.timesteps[step]) for step, _ in ROWS])
next_timestep = torch.clamp(timestep - scheduler.config.num_train_timesteps // STEPS, min=0)
is_terminal = torch.tensor([terminal for _, terminal in ROWS], dtype=torch.uint8)
terminal = is_terminal.bool()
column = lambda values: values.double().view(-1, 1, 1, 1)
# As the scheduler has them, in double; transitions to 0 end at alpha-bar 0.
alpha_bars = scheduler.alphas_cumprod.double()
betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
alpha_bars = torch.cumprod(1.0 - betas.double(), 0)
a, b = column(alpha_bars[timestep]), column(alpha_bars[next_timestep])
variance = (1 - b) / (1 - a) * (1 - a / b)

x = torch.randn(len(ROWS), 4, 6, 8).float().double()
y = (x * (b / a).sqrt() + 0.2 * torch.randn(x.shape)).float().double()
terminal_latents = torch.randn(x.shape).float().double()
ids = lambda prompts: tokenizer(prompts, padding="max_length", max_length=16, truncation=True, return_tensors="pt").input_ids
prompt_embeds = text(ids(PROMPTS)).last_hidden_state
negative = text(ids([""])).last_hidden_state


def predict(latents, times, base=False):
    """The guided noise prediction."""
    (unet.disable_adapters if base else unet.enable_adapters)()
    both = unet(torch.cat([latents, latents]), torch.cat([times, times]), torch.cat([negative.expand(len(latents), -1, -1), prompt_embeds])).sample
    without, with_prompt = both.chunk(2)
    return without + GUIDANCE * (with_prompt - without)


def clean(latents, noise, level):
    return (latents - (1 - level).sqrt() * noise) / level.sqrt()


def rounded(level):
    """alpha-bar as the release's clean prediction has it, in the latents' type."""
    return level.float().to(torch.bfloat16).double()


def log_density(latents, following, noise):
    """log P(following | latents) of each element; DDIM with eta 1 by its predicted clean latents."""
    mean = b.sqrt() * clean(latents, noise, a) + (1 - b - variance).sqrt() * noise
    return -((following - mean) ** 2) / (2 * variance) - 0.5 * torch.log(2 * math.pi * variance)


def log_noising(latents, following):
    """log P_B(latents | following) of each element."""
    return -((latents - (a / b).sqrt() * following) ** 2) / (2 * (1 - a / b))


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def scores(base=False):
    """d log P / d y and d log P / d x, both with their graphs to the weights."""
    at_x, at_y = leaf(x), leaf(y)
    return torch.autograd.grad(log_density(at_x, at_y, predict(at_x, timestep, base)).sum(), (at_y, at_x), create_graph=True)


def noising_scores():
    at_x, at_y = leaf(x), leaf(y)
    return torch.autograd.grad(log_noising(at_x, at_y).sum(), (at_y, at_x))


def score_of(latents):
    """mean-red of the pictures."""
    pictures = (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    return pictures[:, 0].mean((1, 2)) - pictures[:, 2].mean((1, 2))


def reward_gradient(latents, times, level, kind, ends):
    """d log R(decode(x-hat)) / d latents, and log R; rows that are ends are pictures themselves. Of kind release: policy_fl with its rounding."""
    at = leaf(latents)
    predicted = clean(at, predict(at, times, kind == "reference_fl"), rounded(level) if kind == "release" else level)
    rewards = score_of(torch.where(column(ends).bool(), at, predicted))
    return torch.autograd.grad(rewards.sum(), at)[0], rewards.detach()


def terms(kind):
    (_, own), (_, reference) = scores(), scores(base=True)
    result = dict(eps_behaviour=predict(x, timestep), eps_reference=predict(x, timestep, base=True), reverse_score_policy=own, reverse_score_reference=reference)
    if kind == "terminal":
        at = leaf(terminal_latents)
        rewards = score_of(at)
        result["reward_grad_y"] = result["reward_grad_x"] = torch.autograd.grad(rewards.sum(), at)[0]
    else:
        result["reward_grad_y"], rewards = reward_gradient(y, next_timestep, b, kind, terminal)
        result["reward_grad_x"], _ = reward_gradient(x, timestep, a, kind, torch.zeros_like(terminal))
    return {name: value.detach().clone() for name, value in result.items()}, rewards.detach()


def loss_of(given, case):
    """The release's loss, with this project's switches."""
    gamma = {"squared": lambda level: level, "linear": torch.sqrt, "one": torch.ones_like}[case.get("gamma", "squared")]
    eta, exact = case.get("eta", 1.0), case.get("exact", True)
    ends = column(terminal).bool()
    (own_y, own_x), (reference_y, reference_x), (noising_y, noising_x) = scores(), scores(base=True), noising_scores()
    if not case.get("true_gradient"):
        own_x = own_x.detach()
    embeds = prompt_embeds
    flow_x, flow_y = flow(x, timestep, embeds).sample, flow(y, next_timestep, embeds).sample
    in_forward = flow_y if case.get("flow_from_forward_loss") else flow_y.detach()
    if case.get("plain"):
        target_y, target_x = torch.where(ends, BETA * given["reward_grad_y"], in_forward), flow_x
        forward, reverse = own_y - noising_y - target_y, own_x - noising_x + target_x
        end = flow_y - BETA * given["reward_grad_y"]
    else:
        fl_y, fl_x = BETA * gamma(b) * given["reward_grad_y"], BETA * gamma(a) * given["reward_grad_x"]
        end_y = fl_y if case.get("gamma_at_end") else BETA * given["reward_grad_y"]
        target_y = torch.where(ends, end_y, fl_y + (0 if case.get("no_flow") else in_forward))
        missing = (1 - eta) if exact else 0.0
        forward = own_y - eta * reference_y.detach() - missing * noising_y - target_y
        reverse = (1.0 if exact else eta) * own_x - eta * reference_x.detach() - missing * noising_x + fl_x + flow_x
        end = flow_y
    if case.get("zero_terminal"):
        reverse = torch.where(ends, (1.0 if exact else eta) * own_x, reverse)
    parts = dict(loss_forward=(forward**2).mean(), unet_reg=((predict(x, timestep) - given["eps_behaviour"]) ** 2).mean(),
                 loss_reverse=torch.zeros(()), loss_terminal=torch.zeros(()))
    if not case.get("no_flow"):
        parts["loss_reverse"], parts["loss_terminal"] = (reverse**2).mean(), (end[terminal] ** 2).mean()
    parts["loss"] = parts["loss_forward"] + REVERSE * parts["loss_reverse"] + parts["loss_terminal"] + LAMBDA * parts["unet_reg"]
    return parts


CASES = {
    "official": (dict(flow_from_forward_loss=True), ["compat.flow_from_forward_loss=true"]),
    "detached": (dict(), []),
    "official_terminal": (dict(flow_from_forward_loss=True, zero_terminal=True),
                          ["compat.flow_from_forward_loss=true", "compat.reverse_terminal_target=zero"]),
    "no_flow": (dict(no_flow=True, gamma="linear"), ["model.no_flow=true", "model.reward_adaptive_mode=linear"]),
    "strength_exact": (dict(eta=0.5), ["model.pretrained_strength=0.5"]),
    "strength_official": (dict(eta=0.5, exact=False, gamma="one"),
                          ["model.pretrained_strength=0.5", "model.pretrained_strength_mode=official", "model.reward_adaptive_mode=one"]),
    "true_gradient": (dict(true_gradient=True), ["model.reverse_target=true_gradient"]),
    "plain": (dict(plain=True), ["experiment.method=Plain-Nabla-DB"]),
    # The whole preset, on reward gradients with the release's rounding.
    "preset": (dict(flow_from_forward_loss=True, zero_terminal=True, gamma_at_end=True), ["--config", "official"]),
}
ADAM = dict(lr=3e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4)

inputs = dict(x=x, y=y, timestep=timestep, next_timestep=next_timestep, is_terminal=is_terminal)
facts = {"settings": [f"sampling.num_steps={STEPS}", f"sampling.guidance_scale={GUIDANCE}"], "prompts": PROMPTS, "rewards": {}, "cases": {}}
bundle = {**inputs, "terminal_latents": terminal_latents}
release = {}
for kind in ("policy_fl", "reference_fl", "terminal", "release"):
    values, rewards = terms(kind)
    if kind == "release":
        release = {name: value for name, value in values.items() if name.startswith("reward_grad_")}
    facts["rewards"][kind] = rewards.tolist()
    bundle.update({f"{kind}.{name}": value for name, value in values.items() if kind == "policy_fl" or name.startswith("reward_grad_")})
save_file({name: value.contiguous() for name, value in bundle.items()}, f"{folder}/terms.safetensors")

given, _ = terms("policy_fl")
given["eps_behaviour"] = given["eps_behaviour"] + 0.1 * torch.randn(x.shape)  # of older weights
save_file({name: value.detach().contiguous() for name, value in {**inputs, **given, "prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative}.items()},
          f"{folder}/loss.safetensors")
for name, (case, settings) in CASES.items():
    parts = loss_of({**given, **release} if name == "preset" else given, case)
    flow_parameters = {} if case.get("no_flow") else dict(flow.named_parameters())
    gradients = torch.autograd.grad(parts["loss"], [*lora.values(), *flow_parameters.values()], allow_unused=True)
    names = [f"grad.unet.{key.replace('.default', '')}" for key in lora] + [f"grad.flow.{key}" for key in flow_parameters]
    # Of the flow network all in the first case, a few layers in the others.
    told = lambda key: name == "official" or "grad.unet" in key or any(part in key for part in ("conv_in", "conv_out", "mid_block.attentions"))
    values = {key: value for key, value in zip(names, gradients) if value is not None and told(key)}
    save_file({key: value.float().contiguous() for key, value in values.items()}, f"{folder}/gradients_{name}.safetensors")
    facts["cases"][name] = {"settings": settings, **{key: value.item() for key, value in parts.items()}}


def optimiser_steps():
    """The LoRA after three gradients, clipped and each applied twice, as the release's gradient scaler and optimiser do."""
    parameters = [parameter.detach().clone().requires_grad_() for parameter in lora.values()]
    optimizer = torch.optim.AdamW(parameters, **ADAM)
    for name in ("preset", "strength_exact", "plain"):
        for parameter, key in zip(parameters, lora):
            parameter.grad = load_file(f"{folder}/gradients_{name}.safetensors")[f"grad.unet.{key.replace('.default', '')}"].double()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.step()
    return {f"unet.{key.replace('.default', '')}": parameter.detach() for key, parameter in zip(lora, parameters)}


save_file(optimiser_steps(), f"{folder}/stepped.safetensors")
facts["adam"] = ADAM
facts["weights"] = [f"model.reward_scale={BETA}", f"model.reverse_loss_scale={REVERSE}", f"model.unet_reg_scale={LAMBDA}"]
with open(f"{folder}/facts.json", "w") as file:
    json.dump(facts, file, indent=1)
for name in sorted(os.listdir(folder)):
    path = f"{folder}/{name}"
    print(name, os.path.getsize(path) if os.path.isfile(path) else sum(os.path.getsize(f"{path}/{part}") for part in os.listdir(path)), file=sys.stderr)
print(json.dumps(facts["cases"], indent=1), file=sys.stderr)
