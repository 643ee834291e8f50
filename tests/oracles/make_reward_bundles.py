"""Tiny random aesthetic scorers and the analytic rewards with their picture gradients, for tests/rewards/.

    python tests/oracles/make_reward_bundles.py tests/data/parity/reward

Each folder NAME/ holds config.json and model.safetensors as a scorer is loaded, and bundle.safetensors: pictures, scores and gradients in float64.
analytic.safetensors holds the same of lantern and mean-red.
"""
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

root = sys.argv[1]
torch.set_num_threads(1)

SCORERS = {
    # The published scorer's way: pictures of another size and shape than the network's, CLIP's normalisation (not named in config.json).
    "resized": (dict(hidden_act="quick_gelu", image_size=12, patch_size=4, num_attention_heads=2, hidden_size=12, num_hidden_layers=2,
                     intermediate_size=20, projection_dim=10), (8, 6, 5, 3, 1), None, (20, 17)),
    # The pocket way: pictures of the network's own size, a normalisation of its own.
    "own_size": (dict(hidden_act="gelu", image_size=14, patch_size=7, num_attention_heads=3, hidden_size=9, num_hidden_layers=1,
                      intermediate_size=12, projection_dim=7), (7, 4, 3, 2, 1), dict(image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.25, 0.2]), (14, 14)),
}


class Head(nn.Module):
    """The MLP of the improved aesthetic predictor."""

    def __init__(self, width, sizes):
        super().__init__()
        a, b, c, d, e = sizes
        self.layers = nn.Sequential(nn.Linear(width, a), nn.Dropout(0.2), nn.Linear(a, b), nn.Dropout(0.2), nn.Linear(b, c), nn.Dropout(0.1),
                                    nn.Linear(c, d), nn.Linear(d, e))

    def forward(self, x):
        return self.layers(x)


def fill(module):
    for name, parameter in sorted(module.named_parameters()):
        norm = parameter.dim() == 1 and name.endswith("weight")
        spread = 0.2 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
        parameter.data = (1.0 if norm else 0.0) + spread * torch.randn(parameter.shape)
    return module


def with_gradient(score, pictures):
    pictures = pictures.clone().requires_grad_()
    scores = score(pictures)
    return scores.detach(), torch.autograd.grad(scores.sum(), pictures)[0]


def write_scorer(name, tower, sizes, normalisation, size):
    folder = f"{root}/{name}"
    os.makedirs(folder, exist_ok=True)
    vision = fill(CLIPVisionModelWithProjection(CLIPVisionConfig(**tower))).eval()
    head = fill(Head(tower["projection_dim"], sizes)).eval()
    vision.save_pretrained(folder)
    config = json.load(open(f"{folder}/config.json"))
    config.update(normalisation or {})
    json.dump(config, open(f"{folder}/config.json", "w"), indent=2)
    weights = {**vision.state_dict(), **head.state_dict()}
    # What a whole CLIPModel file has beside the vision tower.
    weights.update({"logit_scale": torch.tensor(4.6), "text_projection.weight": torch.zeros(2, 2), "text_model.final_layer_norm.bias": torch.zeros(2)})
    save_file({key: value.contiguous() for key, value in weights.items()}, f"{folder}/model.safetensors")

    chosen = normalisation or dict(image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711])
    mean, std = (torch.tensor(chosen[key], dtype=torch.float64).view(3, 1, 1) for key in ("image_mean", "image_std"))
    side = tower["image_size"]
    vision, head = vision.double(), head.double()

    def score(pictures):
        resized = F.interpolate(pictures, size=(side, side), mode="bicubic")
        embeds = vision(pixel_values=(resized - mean) / std).image_embeds
        return head(embeds / torch.linalg.vector_norm(embeds, dim=-1, keepdim=True)).squeeze(1)

    pictures = torch.rand(3, 3, *size, dtype=torch.float64)
    scores, gradient = with_gradient(score, pictures)
    save_file(dict(pictures=pictures, scores=scores, gradient=gradient), f"{folder}/bundle.safetensors")
    print(name, scores.tolist(), sum(os.path.getsize(f"{folder}/{file}") for file in os.listdir(folder)), "bytes", file=sys.stderr)


def lantern(pictures):
    red, green, blue = pictures.unbind(1)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    height, width = luminance.shape[1:]
    places = [torch.arange(size, dtype=torch.float64) + 0.5 - size / 2 for size in (height, width)]
    y, x = torch.meshgrid(*places, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * 7.0**2))
    average = lambda weight: (luminance * weight).flatten(1).sum(1) / weight.sum()
    zw = ((red - blue).flatten(1).mean(1) - 0.25) / 0.30
    zc = (average(window) - average(1 - window) - 0.20) / 0.10
    return 10 - 3 * (torch.sqrt(1 + zw**2) - 1) - 3 * (torch.sqrt(1 + zc**2) - 1)


def write_analytic():
    pictures = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    pictures[0, 0, 10:22, 10:22] = 1.0  # a warm bright centre
    pictures[0, 2] *= 0.3
    pictures[1] = pictures[1].flip(0) * 0.4
    pictures = pictures.float().double()  # kept in float32
    bundle = dict(pictures=pictures)
    bundle["lantern_scores"], bundle["lantern_gradient"] = with_gradient(lantern, pictures)
    mean_red = lambda images: images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2))
    bundle["mean_red_scores"], bundle["mean_red_gradient"] = with_gradient(mean_red, pictures)
    save_file({key: value.float() if key == "pictures" else value for key, value in bundle.items()}, f"{root}/analytic.safetensors")


os.makedirs(root, exist_ok=True)
for number, (name, arguments) in enumerate(SCORERS.items()):
    torch.manual_seed(400 + number)
    write_scorer(name, *arguments)
torch.manual_seed(410)
write_analytic()
