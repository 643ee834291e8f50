#!/usr/bin/env python3
"""What several ranks cost and bring: sums over two ranks against Gloo alone, and a replay's updates on 1, 2 and 4 ranks at one thread each.

    python3 tests/bench/measure_group.py [--run RUN] [--updates 20] [--ranks 1 2 4] [--out docs/measurements/group.json]

RUN is a finished run of configs/pocket.yaml whose queue is there; without it one is trained first. Efficiency of N ranks is their updates a second over N times
those of one rank; where other work shares the cores it says how busy they were, and cpu_s, the processor time of all ranks with their start, says more.
"""
import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile

from measurement import NABLA, heading, train

THROUGHPUT = "build/release/tests/bench/group_throughput"


def cpu_seconds():
    """Of all processes that ended, ranks that a replay started too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def replay(run, ranks, updates, folder):
    command = [NABLA, "replay", run, f"run.dir={folder}", f"training.updates={updates}", f"learner.ranks={ranks}", "learner.threads=1", "--quiet"]
    print(shlex.join(command), file=sys.stderr, flush=True)
    before = cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    cpu_s = cpu_seconds() - before
    with open(f"{folder}/metrics.jsonl") as lines:
        metrics = [json.loads(line) for line in lines]
    # The first update encodes prompts and warms up.
    return {"losses": [line["loss"] for line in metrics], "update_s": statistics.median(line["timing/learner_s"] for line in metrics[1:]), "cpu_s": cpu_s}


def largest_difference(losses, others):
    return max(abs(a - b) / abs(a) for a, b in zip(losses, others, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out", default="docs/measurements/group.json")
    options = parser.parse_args()
    run = options.run or "runs/measure-group"
    if not options.run:
        train(run, ["seed=1", f"training.updates={options.updates}", "eval.every=0"])
    report = heading(shlex.join(["python3", *sys.argv]))
    report["all_reduce"] = json.loads(subprocess.run([THROUGHPUT], check=True, capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory() as folder:
        runs = {ranks: replay(run, ranks, options.updates, f"{folder}/{ranks}") for ranks in options.ranks}
    one = runs[options.ranks[0]]
    report["replay"] = {
        "updates": options.updates,
        "threads_a_rank": 1,
        "ranks": {
            str(ranks): {
                "update_s": round(result["update_s"], 4),
                "cpu_s": round(result["cpu_s"], 2),
                "efficiency": round(one["update_s"] * options.ranks[0] / (ranks * result["update_s"]), 3),
                "largest_relative_loss_difference": largest_difference(one["losses"], result["losses"]),
            }
            for ranks, result in runs.items()
        },
    }
    report["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    with open(options.out, "w") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
