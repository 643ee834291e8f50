#!/usr/bin/env python3
"""Reward against diversity on the pocket model: every method at equal numbers of trajectories, over seeds, judged by `nabla eval`.

    python3 tests/bench/pareto.py [--updates 40] [--seeds 1 2 3] [--methods NAME ...] [--noises 8] [--eval-threads 2] [key=value ...]

Goes on where an earlier call stopped: a finished run of the same settings is not run again. key=value settings go to every run. Writes the figures of every run
and the means over seeds to --out, and the plot (reward gain and, beside it, the gain of the true reward that no method sees) to --plot. Exits 1 if a run failed or
the runs were not trained on equally many trajectories. docs/evaluation.md says how each method's settings were found.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

from measurement import NABLA, heading, train

FORWARD_ALONE = ["model.no_flow=true", "model.reverse_loss_scale=0"]
METHODS = {
    "residual": [],
    "no-flow": FORWARD_ALONE,
    "terminal": [*FORWARD_ALONE, "model.gradient=terminal", "model.time_weighting=sigma", "model.reward_scale=300"],
    "adjoint-matching": ["experiment.method=Adjoint-Matching"],
    "refl": ["experiment.method=ReFL", "training.lr=5e-4"],
    "draft-1": ["experiment.method=DRaFT-1", "training.lr=7e-4"],
    "ddpo": ["experiment.method=DDPO", "training.lr=4e-3", "model.ddpo_clip_range=0.1"],
}
# Runs are judged at their ends only, so that their time is training.
COMMON = ["eval.every=0", "eval.prompts=4", "eval.seeds=2"]
FIGURES = ("reward_gain_sd", "true_gain_sd", "diversity", "frechet_to_base", "color_accuracy", "shape_accuracy", "count_accuracy", "drift")


def judge(runs, options):
    command = [NABLA, "eval", *(f"{label}={folder}" for label, folder in runs), "eval.prompts=16", "--noises", str(options.noises), "--threads",
               str(options.eval_threads), "--out", f"{options.runs}/eval.json", "--plot", options.plot]
    print(shlex.join(command), file=sys.stderr, flush=True)
    started = time.time()
    subprocess.run(command, check=True)
    with open(f"{options.runs}/eval.json") as result:
        return shlex.join(command), time.time() - started, json.load(result)


def means(runs):
    """Mean and deviation over the seeds of a method."""
    table = {}
    for label in dict.fromkeys(run["label"] for run in runs):
        own = [run for run in runs if run["label"] == label]
        table[label] = {key: [statistics.mean(run[key] for run in own), statistics.pstdev(run[key] for run in own)] for key in FIGURES}
        table[label]["seconds"] = statistics.mean(run["wall_s"] for run in own)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--noises", type=int, default=8, help="pictures of each of the 16 prompts")
    parser.add_argument("--eval-threads", type=int, default=2)
    parser.add_argument("--runs", default="runs/pareto")
    parser.add_argument("--out", default="docs/measurements/pareto.json")
    parser.add_argument("--plot", default="docs/images/pareto.svg")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    options = parser.parse_args()
    for folder in (options.runs, os.path.dirname(options.out), os.path.dirname(options.plot)):
        os.makedirs(folder or ".", exist_ok=True)
    report = heading(shlex.join(["python3", *sys.argv]))
    runs, commands = [], []
    for seed in options.seeds:  # seed by seed, so that an early end leaves a whole picture
        for method in options.methods:
            folder = f"{options.runs}/{method}-{options.updates}-updates-seed-{seed}"
            commands.append(train(folder, [f"seed={seed}", f"training.updates={options.updates}", *COMMON, *METHODS[method], *options.settings]))
            runs.append((method, folder))
    command, seconds, result = judge(runs, options)
    trajectories = {run["trajectories"] for run in result["runs"]}
    table = means(result["runs"])
    report.update(commands=[*commands, command], updates=options.updates, trajectories=sorted(trajectories), evaluation_seconds=round(seconds, 1),
                  methods={method: METHODS[method] for method in options.methods}, means_and_deviations_over_seeds=table, **result)
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    for label, row in table.items():
        print(f"{label}: reward {row['reward_gain_sd'][0]:+.2f} ± {row['reward_gain_sd'][1]:.2f} sd, true {row['true_gain_sd'][0]:+.2f} sd, diversity "
              f"{row['diversity'][0]:.3f} (base {result['base']['diversity']:.3f}), drift {row['drift'][0]:.3f}, {row['seconds']:.0f} s")
    if len(trajectories) != 1:
        sys.exit(f"the runs were trained on {sorted(trajectories)} trajectories; they cannot be compared")


main()
