"""The work of one actor and one learner on the pocket model, written with diffusers, peft and PyTorch: the other side of tests/bench/pocket_work.cpp.

    python tests/oracles/bench_pocket.py --like POCKET_WORK.json [--updates N] [--lora merged|adapter] [--check DUMP.safetensors]

POCKET_WORK.json is what pocket_work printed: its settings are taken over. Prints JSON of the same form. --check recomputes an update that `pocket_work --dump`
wrote and compares every tensor; exit status 1 when one differs.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

aten = torch.ops.aten


class AestheticReward(nn.Module):
    """CLIP vision tower, L2 norm and the MLP head without activations."""

    def __init__(self, folder):
        super().__init__()
        config = json.load(open(f"{folder}/config.json"))
        tensors = load_file(f"{folder}/model.safetensors")
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        self.vision.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("layers.")}, strict=False)
        widths = [config["projection_dim"], *config["head_sizes"]]
        self.layers = nn.Sequential()
        for position, (width, following) in zip((0, 2, 4, 6, 7), zip(widths, widths[1:])):
            while len(self.layers) < position:
                self.layers.append(nn.Identity())
            self.layers.append(nn.Linear(width, following))
        self.layers.load_state_dict({name.removeprefix("layers."): value for name, value in tensors.items() if name.startswith("layers.")})
        self.register_buffer("mean", torch.tensor(config["image_mean"]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["image_std"]).view(3, 1, 1))

    def forward(self, images):
        embeds = self.vision(pixel_values=(images - self.mean) / self.std).image_embeds
        return self.layers(embeds / embeds.norm(dim=-1, keepdim=True)).squeeze(-1)


class Work:
    def __init__(self, settings, lora):
        self.settings = argparse.Namespace(**settings)
        s = self.settings
        self.merge_lora = lora == "merged"
        self.unet = UNet2DConditionModel.from_pretrained(s.model, subfolder="unet").requires_grad_(False).eval()
        self.vae = AutoencoderKL.from_pretrained(s.model, subfolder="vae").requires_grad_(False).eval()
        self.text_encoder = CLIPTextModel.from_pretrained(s.model, subfolder="text_encoder").requires_grad_(False).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(s.model, subfolder="tokenizer")
        self.reward = AestheticReward(s.reward_model).requires_grad_(False).eval()
        self.scheduler = DDIMScheduler.from_pretrained(s.model, subfolder="scheduler")
        self.scheduler.set_timesteps(s.num_steps)
        self.unet.add_adapter(LoraConfig(r=s.lora_rank, lora_alpha=s.lora_alpha, init_lora_weights="gaussian",
                                         target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
        self.adapters = [module for module in self.unet.modules() if isinstance(module, BaseTunerLayer)]
        self.lora = [parameter for parameter in self.unet.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.lora, lr=s.lr, weight_decay=s.adam_weight_decay)
        self.flow = None
        if not s.no_flow:
            self.flow = self.make_flow()
            self.flow_optimizer = torch.optim.AdamW(self.flow.parameters(), lr=s.flow_lr, weight_decay=s.flow_wd)
        self.make_table()
        self.prompt_cache = {}
        self.meter = Meter()

    def make_flow(self):
        config, widths = self.unet.config, self.settings.flow_channel_width
        flow = UNet2DConditionModel(
            sample_size=config.sample_size, in_channels=config.in_channels, out_channels=config.in_channels, block_out_channels=widths,
            down_block_types=["CrossAttnDownBlock2D"] * (len(widths) - 1) + ["DownBlock2D"],
            up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (len(widths) - 1),
            layers_per_block=self.settings.flow_layers_per_block, cross_attention_dim=config.cross_attention_dim, norm_num_groups=config.norm_num_groups,
            attention_head_dim=config.attention_head_dim[0])
        nn.init.zeros_(flow.conv_out.weight)
        nn.init.zeros_(flow.conv_out.bias)
        return flow

    def make_table(self):
        """Coefficients of each transition, made in double: mean = x_coefficient x - noise_coefficient eps."""
        self.t = self.scheduler.timesteps
        self.next_t = (self.t - self.scheduler.config.num_train_timesteps // self.settings.num_steps).clamp(min=0)
        alphas = self.scheduler.alphas_cumprod.double()
        a, b = alphas[self.t], alphas[self.next_t]
        variance = self.settings.eta**2 * (1 - b) / (1 - a) * (1 - a / b)
        k = b.sqrt() * (1 - a).sqrt() / a.sqrt() - (1 - b - variance).sqrt()
        columns = dict(x_coefficient=(b / a).sqrt(), noise_coefficient=k, variance=variance, weight=k / variance, a=a, b=b,
                       x_scale=1 / a.sqrt(), x_noise=(1 - a).sqrt(), y_scale=1 / b.sqrt(), y_noise=(1 - b).sqrt())
        self.table = {name: column.float().view(-1, 1, 1, 1) for name, column in columns.items()}

    def encode(self, prompts):
        ids = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(ids).last_hidden_state

    def predict(self, x, t, embeds, negative):
        both = torch.cat([negative.expand(len(x), -1, -1), embeds])
        unconditional, conditional = self.unet(torch.cat([x, x]), t.repeat(2), both).sample.chunk(2)
        return unconditional + self.settings.guidance_scale * (conditional - unconditional)

    def set_merged(self, merged):
        if self.merge_lora:
            for adapter in self.adapters:
                adapter.merge() if merged else adapter.unmerge()

    @torch.no_grad()
    def sample(self, prompts, chosen):
        """Sampling with the policy; keeps x, y and the prediction where a trajectory [B,K] chose the step."""
        self.meter.enter("sampling")
        negative, embeds = self.encode([""] + prompts).split([1, len(prompts)])
        shape = (len(prompts), self.unet.config.in_channels, self.unet.config.sample_size, self.unet.config.sample_size)
        x = torch.randn(shape)
        kept = {name: torch.empty(chosen.numel(), *shape[1:]) for name in ("x", "y", "eps_behaviour")}
        for step, t in enumerate(self.t):
            eps = self.predict(x, t.expand(len(x)), embeds, negative)
            y = self.scheduler.step(eps, t, x, eta=self.settings.eta, variance_noise=torch.randn(shape)).prev_sample
            rows = (chosen == step).flatten().nonzero().flatten()
            if len(rows):
                of_row = rows // chosen.shape[1]
                for name, value in (("x", x), ("y", y), ("eps_behaviour", eps)):
                    kept[name][rows] = value[of_row]
            x = y
        steps = chosen.flatten()
        kept.update(steps=steps, terminal=steps == len(self.t) - 1, embeds=embeds.repeat_interleave(chosen.shape[1], 0), negative=negative)
        return kept

    def reward_gradient(self, clean, latent):
        """Reward of the clean picture and its gradient in the latent."""
        images = (self.vae.decode(clean / self.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
        score = self.reward(images)
        return torch.autograd.grad(score.sum(), latent)[0], score.detach()

    def reverse_score(self, c, x, y, eps, retain_graph):
        cotangent = (y - (c["x_coefficient"] * x.detach() - c["noise_coefficient"] * eps.detach())) / c["variance"]
        return c["x_coefficient"] * cotangent - c["noise_coefficient"] * torch.autograd.grad(eps, x, cotangent, retain_graph=retain_graph)[0]

    def evaluate(self, points):
        """Reference prediction, reward gradients and reverse scores at the chosen points, chunk by chunk."""
        parts = []
        for rows in torch.arange(len(points["x"])).split(self.settings.chunk_rows):
            parts.append(self.evaluate_chunk({name: value if name == "negative" else value[rows] for name, value in points.items()}))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def evaluate_chunk(self, p):
        c = {name: column[p["steps"]] for name, column in self.table.items()}
        t, next_t, out = self.t[p["steps"]], self.next_t[p["steps"]], {}
        reverse = self.flow is not None
        self.meter.enter("reference")
        self.set_merged(False)
        self.unet.disable_adapters()
        x = p["x"].clone().requires_grad_(reverse)
        eps = self.predict(x, t, p["embeds"], p["negative"])
        out["eps_reference"] = eps.detach()
        if reverse:
            out["reverse_score_reference"] = self.reverse_score(c, x, p["y"], eps, False)
        self.unet.enable_adapters()
        self.meter.enter("reward_gradient")
        self.set_merged(True)
        if reverse:
            x = p["x"].clone().requires_grad_()
            eps = self.predict(x, t, p["embeds"], p["negative"])
            out["reverse_score_policy"] = self.reverse_score(c, x, p["y"], eps, True)
            out["reward_grad_x"], _ = self.reward_gradient((x - c["x_noise"] * eps) * c["x_scale"], x)
        out["reward_grad_y"], out["reward"] = torch.zeros_like(p["y"]), torch.zeros(len(p["y"]))
        terminal, others = p["terminal"].nonzero().flatten(), (~p["terminal"]).nonzero().flatten()
        if len(terminal):
            y = p["y"][terminal].requires_grad_()
            out["reward_grad_y"][terminal], out["reward"][terminal] = self.reward_gradient(y, y)
        if len(others):
            y = p["y"][others].requires_grad_()
            eps = self.predict(y, next_t[others], p["embeds"][others], p["negative"])
            out["reward_grad_y"][others], out["reward"][others] = self.reward_gradient((y - c["y_noise"][others] * eps) * c["y_scale"][others], y)
        return out

    def flow_predictions(self, p, t, next_t):
        """g(x) and the terminal g(y) with a graph, the other g(y) without."""
        trained, others = p["terminal"].nonzero().flatten(), (~p["terminal"]).nonzero().flatten()
        with_graph = self.flow(torch.cat([p["x"], p["y"][trained]]), torch.cat([t, next_t[trained]]),
                               torch.cat([p["embeds"], p["embeds"][trained]])).sample
        g_x, g_terminal = with_graph.split([len(p["x"]), len(trained)])
        g_y = torch.zeros_like(p["y"])
        with torch.no_grad():
            g_y[others] = self.flow(p["y"][others], next_t[others], p["embeds"][others]).sample
        return g_x, g_y, g_terminal

    def loss(self, p, slots):
        s, c = self.settings, {name: column[p["steps"]] for name, column in self.table.items()}
        t, next_t = self.t[p["steps"]], self.next_t[p["steps"]]
        eps = self.predict(p["x"], t, p["embeds"], p["negative"])
        gamma = torch.where(p["terminal"].view(-1, 1, 1, 1), 1.0, c["b"])
        score = s.reward_scale * gamma * p["reward_grad_y"]
        if self.flow is not None:
            g_x, g_y, g_terminal = self.flow_predictions(p, t, next_t)
            score = score + g_y  # 0 at the terminal state
        change = eps - p["eps_reference"]
        forward = change + score / c["weight"] if s.time_weighting == "uniform" else c["weight"] * change + score
        rows = forward.square().mean((1, 2, 3)) + s.unet_reg_scale * (eps - p["eps_behaviour"]).square().mean((1, 2, 3))
        per_row = slots / len(rows)
        loss = rows.sum() * per_row
        if self.flow is not None:
            reverse = p["reverse_score_policy"] - p["reverse_score_reference"] + s.reward_scale * c["a"] * p["reward_grad_x"] + g_x
            loss = loss + (s.reverse_loss_scale * reverse.square().mean((1, 2, 3)).sum() + g_terminal.square().mean((1, 2, 3)).sum()) * per_row
        return loss

    def train(self, p, slots_total):
        self.optimizer.zero_grad(set_to_none=True)
        if self.flow is not None:
            self.flow_optimizer.zero_grad(set_to_none=True)
        rows_per_slot, losses = len(p["x"]) // slots_total, []
        for rows in torch.arange(len(p["x"])).split(self.settings.batch_size * rows_per_slot):
            micro = {name: value if name == "negative" else value[rows] for name, value in p.items()}
            loss = self.loss(micro, len(rows) // rows_per_slot) / slots_total
            loss.backward()
            losses.append(loss.detach())
        norms = [torch.nn.utils.clip_grad_norm_(self.lora, self.settings.max_grad_norm)]
        self.optimizer.step()
        if self.flow is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(self.flow.parameters(), self.settings.max_grad_norm))
            self.flow_optimizer.step()
        loss = torch.stack(losses).sum().item()  # logged, as our program logs it
        return loss, [norm.item() for norm in norms]

    def choose(self, trajectories):
        """One transition from each of K equal bins of all but the last step, and the last step."""
        others, bins = self.settings.num_steps - 1, round(self.settings.num_steps * self.settings.timestep_fraction)
        sizes = [others // bins + (i < others % bins) for i in range(bins)]
        firsts = [sum(sizes[:i]) for i in range(bins)]
        drawn = torch.stack([first + torch.randint(size, (trajectories,)) for first, size in zip(firsts, sizes)], 1)
        return torch.cat([drawn, torch.full((trajectories, 1), others)], 1)

    def embed_cached(self, prompts):
        with torch.no_grad():
            for prompt in {"", *prompts}.difference(self.prompt_cache):
                self.prompt_cache[prompt] = self.encode([prompt])
        return torch.cat([self.prompt_cache[prompt] for prompt in prompts]), self.prompt_cache[""]

    def update(self, prompts):
        s, parts = self.settings, []
        self.meter.enter("install")
        self.set_merged(True)
        slots = s.batch_size * s.gradient_accumulation_steps
        for first in range(0, slots, s.ticket_size):
            texts = prompts[first:first + s.ticket_size]
            points = self.sample(texts, self.choose(len(texts)))
            points.update(self.evaluate(points))
            parts.append(points)
        self.meter.enter("learner")
        self.set_merged(False)
        points = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name != "negative"}
        embeds, points["negative"] = self.embed_cached(prompts)
        points["embeds"] = embeds.repeat_interleave(len(points["x"]) // slots, 0)
        self.train(points, slots)
        self.meter.enter(None)
        return len(points["x"])


class Counter(TorchDispatchMode):
    """Rows through watched convolutions and floating point operations (2 a multiply-add), from the operators that PyTorch really runs."""

    def __init__(self, watched):
        super().__init__()
        self.networks = {weight.data_ptr(): name for name, weight in watched.items()}
        self.rows = {name: dict(forward_rows=0, backward_rows=0) for name in watched}
        self.flop = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is aten.convolution.default:
            weight = args[1]
            self.flop += 2 * out.numel() * weight.numel() // weight.shape[0]
            self.count(weight, len(args[0]), "forward_rows")
        elif function is aten.convolution_backward.default:
            grad, weight, mask = args[0], args[2], args[10]
            self.flop += sum(mask[:2]) * 2 * grad.numel() * weight.numel() // weight.shape[0]
            self.count(weight, len(grad), "backward_rows")
        elif function in (aten.mm.default, aten.bmm.default):
            self.flop += 2 * args[0].numel() * args[1].shape[-1]
        elif function in (aten.addmm.default, aten.baddbmm.default):
            self.flop += 2 * args[1].numel() * args[2].shape[-1]
        elif function is aten._scaled_dot_product_flash_attention_for_cpu.default:
            self.flop += 4 * args[0].numel() * args[1].shape[2]
        elif function is aten._scaled_dot_product_flash_attention_for_cpu_backward.default:
            self.flop += 10 * args[1].numel() * args[2].shape[2]
        return out

    def count(self, weight, rows, direction):
        if weight.data_ptr() in self.networks:
            self.rows[self.networks[weight.data_ptr()]][direction] += rows


class Meter:
    """Seconds and floating point operations of each stage."""

    def __init__(self):
        self.stages, self.stage, self.counter = {}, None, None

    def enter(self, stage):
        now, flop = time.monotonic(), self.counter.flop if self.counter else 0
        if self.stage is not None:
            cost = self.stages.setdefault(self.stage, dict(seconds=0.0, flop=0.0))
            cost["seconds"] += now - self.entered
            cost["flop"] += flop - self.flop
        self.stage, self.entered, self.flop = stage, now, flop

    def forget_seconds(self):
        for cost in self.stages.values():
            cost["seconds"] = 0.0


def matrix_product_speed():
    a, b = torch.ones(1024, 1024), torch.ones(1024, 1024)
    best = 0.0
    for _ in range(20):
        start = time.monotonic()
        torch.mm(a, b)
        best = max(best, 2e-9 * 1024**3 / (time.monotonic() - start))
    return best


def measure(work, updates, prompts):
    settings = work.settings
    watched = dict(unet=work.unet.conv_out.weight, vae_decoder=work.vae.decoder.conv_out.weight,
                   reward=work.reward.vision.vision_model.embeddings.patch_embedding.weight)
    if work.flow is not None:
        watched["flow"] = work.flow.conv_out.weight
    with Counter(watched) as work.meter.counter:
        transitions = work.update(prompts)
    counts = work.meter.counter.rows
    for direction in counts["unet"]:
        counts["unet"][direction] //= 1 if settings.guidance_scale == 1 else 2  # two rows for one guided row
    work.meter.counter = None
    work.meter.forget_seconds()
    speed, wall, cpu = matrix_product_speed(), [], []
    for _ in range(updates):
        start, cpu_start = time.monotonic(), time.process_time()
        work.update(prompts)
        wall.append(time.monotonic() - start)
        cpu.append(time.process_time() - cpu_start)
    speed = max(speed, matrix_product_speed())
    stages = {}
    for name, cost in work.meter.stages.items():
        seconds, gflop = cost["seconds"] / updates, 1e-9 * cost["flop"]
        stages[name] = dict(seconds=seconds, gflop=gflop, share_of_matrix_product_speed=gflop / seconds / speed)
    return dict(side="python", lora="merged" if work.merge_lora else "adapter", settings=vars(settings), counts_per_update=dict(sorted(counts.items())),
                unique_transitions_per_update=transitions, update_seconds=wall, update_cpu_seconds=cpu,
                unique_transitions_per_second=transitions / statistics.median(wall), matrix_product_gflop_per_second=speed, stages=stages,
                peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def check(work, file):
    """Recomputes a dumped update with its weights, states and embeddings; prints the relative L2 error of each tensor."""
    given = load_file(file)
    named = {name.replace("base_layer.", "").replace(".default", ""): parameter for name, parameter in work.unet.named_parameters() if "lora_" in name}
    flow = dict(work.flow.named_parameters()) if work.flow is not None else {}
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(given[f"lora.{name}"])
        for name, parameter in flow.items():
            parameter.copy_(given[f"flow.{name}"])
    steps = torch.tensor([(work.t == t).nonzero().item() for t in given["timestep"]])
    assert torch.equal(work.next_t[steps], given["next_timestep"])
    points = dict(x=given["x"], y=given["y"], steps=steps, terminal=given["is_terminal"].bool(), embeds=given["prompt_embeds"],
                  negative=given["negative_embeds"])
    work.set_merged(True)
    results = work.evaluate(points)
    with torch.no_grad():
        results["eps_behaviour"] = work.predict(points["x"], work.t[steps], points["embeds"], points["negative"])
    work.set_merged(False)
    # The loss is computed on the given tensors, so that the two halves of the work are judged apart.
    points.update({name: given[name] for name in results if name != "reward"})
    slots = int(points["terminal"].sum())
    loss, norms = work.train(points, slots)
    rows = len(steps) // slots
    results["metric.reward_mean"] = results.pop("reward")[rows - 1::rows].mean().double().view(1)
    results["metric.loss"] = torch.tensor([loss], dtype=torch.float64)
    for name, norm in zip(("metric.grad_norm", "metric.grad_norm_flow"), norms):
        results[name] = torch.tensor([norm], dtype=torch.float64)
    results.update({f"grad.lora.{name}": parameter.grad for name, parameter in named.items()})
    results.update({f"grad.flow.{name}": parameter.grad for name, parameter in flow.items()})
    errors = {name: ((value - given[name]).norm() / given[name].norm().clamp(min=1e-30)).item() for name, value in results.items()}
    groups = {}
    for name, error in errors.items():
        group = ".".join(name.split(".")[:2]) if name.startswith("grad.") else name
        groups[group] = max(groups.get(group, 0.0), error)
    for group, error in groups.items():
        print(f"{group:28} largest relative error {error:.1e}")
    return max(groups.values()) <= 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, help="JSON that pocket_work printed")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--lora", choices=("merged", "adapter"), default="merged", help="how the policy samples")
    parser.add_argument("--prompts", help="file of prompts, one a line")
    parser.add_argument("--check", help="dump of pocket_work to compare with")
    options = parser.parse_args()
    settings = json.load(open(options.like))["settings"]
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    work = Work(settings, options.lora)
    if options.check:
        sys.exit(0 if check(work, options.check) else 1)
    lines = open(options.prompts or f"{settings['model']}/prompts/train.txt").read().split("\n")
    slots = settings["batch_size"] * settings["gradient_accumulation_steps"]
    prompts = [line for line in lines if line][:slots]
    print(json.dumps(measure(work, options.updates, prompts), indent=2))


if __name__ == "__main__":
    main()
