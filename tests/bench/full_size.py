"""Time and memory of Stable Diffusion v1.5 at its full size on a CPU, with random weights: two steps of sampling, and one whole fleet update of configs/aesthetic.yaml.

    build/release/tests/bench/full_size_model FOLDER shared-or-own/sac+logos+ava1-l14-linearMSE.pth
    python3 tests/bench/full_size.py FOLDER [sample|update]... > docs/measurements/sd15_cpu.json

The update has one slot of two steps, one chosen transition and the terminal one; an actor and a learner of one thread each. Weights are random, so rewards mean nothing.
Peaks are of resident memory: of each process, and of all at once (looked at twice a second).
"""
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time

from measurement import NABLA, heading


def resident_bytes(pid):
    """A process and everything it started."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            with open(f"/proc/{one}/status") as status:
                total += next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")), 0)
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as children:
                    waiting += [int(child) for child in children.read().split()]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return total


def measured(command):
    print(shlex.join(command), file=sys.stderr)
    peak, start = 0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ, OMP_NUM_THREADS="1")) as process:
        output = []
        reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
        reader.start()
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(0.5)
        reader.join()
    if process.returncode != 0:
        sys.exit(f"exit code {process.returncode}: {shlex.join(command)}")
    return output[0], {"command": shlex.join(command), "wall_s": round(time.monotonic() - start, 1), "peak_resident_bytes_of_all": peak}


def sample(folder):
    output, facts = measured([NABLA, "sample", "--quiet", "--model", f"{folder}/model", "--prompt", "a cat", "--steps", "2", "--threads", "1", "--out", f"{folder}/pictures"])
    return {**facts, **{key: value for key, value in json.loads(output).items() if key != "pictures"}}


def update(folder):
    run = f"{folder}/run"
    shutil.rmtree(run, ignore_errors=True)
    settings = ["sampling.num_steps=2", "model.timestep_fraction=0.5", "training.updates=1", "training.batch_size=1", "training.gradient_accumulation_steps=1",
                "fleet.ticket_size=1", "fleet.ticket_timeout=3600", "actors.count=1", "actors.threads=1", "learner.threads=1", "eval.every=0", "eval.prompts=1", "eval.seeds=1"]
    _, facts = measured([NABLA, "train", "--quiet", "--config", "aesthetic", f"run.dir={run}", f"pretrained.model={folder}/model",
                         f"experiment.reward_model={folder}/aesthetic", *settings])
    with open(f"{run}/summary.json") as file:
        summary = json.load(file)
    for key in ("exit_reason", "updates", "trajectories", "unique_transitions", "stage_seconds", "peak_rss_bytes", "ledger"):
        facts[key] = summary.get(key)
    return facts


if __name__ == "__main__":
    wanted = sys.argv[2:] or ["sample", "update"]
    result = heading(shlex.join(["python3", "tests/bench/full_size.py", "FOLDER", *wanted]))
    for name in wanted:
        result[name] = {"sample": sample, "update": update}[name](sys.argv[1])
    print(json.dumps(result, indent=1).replace(sys.argv[1], "FOLDER"))
