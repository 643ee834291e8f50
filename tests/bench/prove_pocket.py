#!/usr/bin/env python3
"""The main job's proof: three seeds and two controls of configs/pocket.yaml, judged against their targets.

    python3 tests/bench/prove_pocket.py [--runs runs/prove-pocket] [--out docs/measurements/pocket_main_job.json] [key=value ...]

Goes on where an earlier call stopped: a finished run of the same settings is not run again. key=value settings go to every run. Exits 1 if a target is missed.
"""
import argparse
import json
import os
import sys

from measurement import heading, train

# name: its settings; the controls change one thing each.
RUNS = {
    "seed 1": ["seed=1"],
    "seed 2": ["seed=2"],
    "seed 3": ["seed=3"],
    "control, no reward": ["seed=1", "model.reward_scale=0"],
    "control, negated reward": ["seed=1", "experiment.reward_sign=-1"],
}


def run(name, settings, runs, extra):
    folder = f"{runs}/{name.replace(', ', '-').replace(' ', '-')}"
    train(folder, [*settings, *extra])
    with open(f"{folder}/summary.json") as summary:
        return json.load(summary)


def figures(summary):
    """Gains in standard deviations of the base's own pictures; the rest as a share of the base's."""
    first, last = summary["evaluation"][0], summary["evaluation"][-1]
    return {
        "updates": summary["updates"],
        "wall_s": round(summary["wall_s"], 1),
        "reward": [first["reward_mean"], last["reward_mean"]],
        "reward_gain_sd": (last["reward_mean"] - first["reward_mean"]) / first["reward_std"],
        "true_reward": [first["true_reward_mean"], last["true_reward_mean"]],
        "true_gain_sd": (last["true_reward_mean"] - first["true_reward_mean"]) / first["true_reward_std"],
        "diversity_share": last["diversity"] / first["diversity"],
        "prompt_accuracy": [first["prompt_accuracy"], last["prompt_accuracy"]],
        "accuracy_share": last["prompt_accuracy"] / first["prompt_accuracy"],
        "drift": last["drift"],
        "policy_lag": summary["policy_lag"],
        "ledger": summary["ledger"],
        "weights_digest": summary["weights_digest"],
        "evaluation": summary["evaluation"],
    }


def verdicts(name, f):
    if name == "control, no reward":
        return {"moves the reward by less than 0.1 sd": abs(f["reward_gain_sd"]) < 0.1}
    if name == "control, negated reward":
        return {"lowers the reward by at least 0.5 sd": f["reward_gain_sd"] <= -0.5}
    return {
        "at most 10 minutes": f["wall_s"] <= 600,
        "reward up by at least 1.2 sd": f["reward_gain_sd"] >= 1.2,
        "true reward up by at least 0.5 sd": f["true_gain_sd"] >= 0.5,
        "diversity at least 0.8 of the base's": f["diversity_share"] >= 0.8,
        "prompt accuracy at least 0.8 of the base's": f["accuracy_share"] >= 0.8,
        "ledger closes": f["ledger"]["residual"] == 0,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/prove-pocket")
    parser.add_argument("--out", default="docs/measurements/pocket_main_job.json")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    os.makedirs(options.runs, exist_ok=True)
    report = {**heading(" ".join(["python3 tests/bench/prove_pocket.py", *options.settings])), "runs": {}}
    passed = True
    for name, settings in RUNS.items():
        f = figures(run(name, settings, options.runs, options.settings))
        checks = verdicts(name, f)
        passed &= all(checks.values())
        report["runs"][name] = {**f, "checks": checks}
        print(f"{name}: {f['wall_s']:.0f} s, reward {f['reward_gain_sd']:+.2f} sd, true {f['true_gain_sd']:+.2f} sd, "
              f"diversity {f['diversity_share']:.2f}, accuracy {f['accuracy_share']:.2f} of the base's; missed: "
              f"{[check for check, holds in checks.items() if not holds]}", flush=True)
        os.makedirs(os.path.dirname(options.out), exist_ok=True)
        json.dump(report, open(options.out, "w"), indent=1)
    sys.exit(0 if passed else 1)


main()
