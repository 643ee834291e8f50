"""What every committed measurement says of itself: when, on what machine, by which command; and runs of the pocket model's main job, each made once."""
import datetime
import json
import os
import shlex
import subprocess
import sys
import time

NABLA = "build/release/nabla"
CONFIG = "configs/pocket.yaml"


def cpu_model():
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")


def heading(command):
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 2)},
        "command": command,
    }


def is_finished(folder, command):
    """True for a finished run of exactly this command."""
    try:
        with open(f"{folder}/summary.json") as summary, open(f"{folder}/command.txt") as line:
            return json.load(summary)["exit_reason"] == "finished" and shlex.split(line.read())[1:] == [word for word in command[1:] if word != "--quiet"]
    except FileNotFoundError:
        return False


def train(folder, settings):
    """Trains into the folder, unless that run is finished already; any other run there is set aside. Returns the command."""
    command = [NABLA, "train", "--quiet", "--config", CONFIG, f"run.dir={folder}", *settings]
    if is_finished(folder, command):
        return shlex.join(command)
    if os.path.exists(folder):
        os.rename(folder, f"{folder}.set-aside-{os.getpid()}-{int(time.time())}")
    print(shlex.join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)
    return shlex.join(command)
