"""Where the release's stop-gradient map ends on T1 and T2 of docs/truth.md: its fixed point on a grid of the line, without tables and without our code.

    python tests/oracles/release_map.py

The forward loss of transition j and the reverse loss of transition j + 1 ask the flow between them for two things; it is their mean, weighted by how densely
each sees the state. Prints the total variation to the chain's target for several laws of the states.
"""
import math

import numpy as np

STEPS, REACH, POINTS = 50, 6.0, 1001
MODES, DEVIATION = np.array([-1.5, 1.5]), 0.3
# log R^beta and its derivative.
REWARDS = {"T1": (lambda x: -0.7 * x, lambda x: -0.7 + 0 * x), "T2": (lambda x: -2 * (x - 0.5) ** 2, lambda x: -4 * (x - 0.5))}
SLOTS, COVER = 819, 385  # states of trajectories and of the even cover that a level of our tables sees (8192 slots, one in ten chooses a transition)

x = np.linspace(-REACH, REACH, POINTS)


def alpha_bars():
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    levels = np.cumprod(1 - betas)
    return [levels[t] for t in range(981, 0, -20)] + [levels[0]]


def score_and_slope(a):
    means, variance = math.sqrt(a) * MODES, a * DEVIATION**2 + 1 - a
    logits = -((x[:, None] - means) ** 2) / 2 / variance
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    pull = (means - x[:, None]) / variance
    score = (share * pull).sum(1)
    return score, (share * pull * pull).sum(1) - score**2 - 1 / variance


def transitions():
    """sigma, mean and its slope under the base model."""
    levels, found = alpha_bars(), []
    for a, b in zip(levels, levels[1:]):
        alpha = a / b
        score, slope = score_and_slope(a)
        k = (1 - alpha) / math.sqrt(alpha)  # times -eps / sqrt(1 - a), which is the score
        found.append((math.sqrt((1 - b) * (1 - alpha) / (1 - a)), x / math.sqrt(alpha) + k * score, 1 / math.sqrt(alpha) + k * slope))
    return found


CHAIN = transitions()


def kernel(mean, sigma):
    rows = np.exp(-((x[None, :] - mean[:, None]) ** 2) / 2 / sigma**2)
    return rows / rows.sum(1, keepdims=True)


def laws(means):
    density = np.exp(-(x**2) / 2)
    found = [density / density.sum()]
    for (sigma, _, _), mean in zip(CHAIN, means):
        found.append(found[-1] @ kernel(mean, sigma))
    return found


def fixed_point(gradient, seen, forward_weight=1.0):
    """Means of the policy's transitions; `seen`: the weight of each state at each level."""
    means = [None] * STEPS
    for j in reversed(range(STEPS)):
        sigma, base, slope = CHAIN[j]
        score, mean = (gradient(x) if j == STEPS - 1 else asked.copy()), base.copy()
        for _ in range(200):
            rows = kernel(mean, sigma)
            moved = base + sigma**2 * (rows @ score)
            step = np.abs(moved - mean).max()
            if j < STEPS - 1:
                forward, change = seen[j] @ rows, (seen[j] * (moved - base) / sigma**2) @ rows
                blend = (forward_weight * change + seen[j + 1] * asked) / (forward_weight * forward + seen[j + 1] + 1e-300)
                step, score = step + np.abs(blend - score).max(), blend
            mean = moved
            if step < 1e-6:
                break
        means[j] = mean
        asked = slope * (mean - base) / sigma**2  # what the reverse loss asks of the flow at x
    return means


def main():
    base_laws = laws([mean for _, mean, _ in CHAIN])
    for name, (log_reward, gradient) in REWARDS.items():
        target = base_laws[-1] * np.exp(log_reward(x) - log_reward(x).max())
        target /= target.sum()
        distance = lambda means: 0.5 * np.abs(laws(means)[-1] - target).sum()
        print(f"{name} sound map: {distance(fixed_point(gradient, base_laws, 0.0)):.4f}")
        print(f"{name} release's map, states of the base model: {distance(fixed_point(gradient, base_laws)):.4f}")
        seen = base_laws
        for _ in range(4):
            means = fixed_point(gradient, seen)
            seen = laws(means)
        print(f"{name} release's map, states of the policy: {distance(means):.4f}")
        covered = [SLOTS * law + COVER / POINTS for law in base_laws]
        print(f"{name} release's map, states of the base model and an even cover: {distance(fixed_point(gradient, covered)):.4f}")


main()
