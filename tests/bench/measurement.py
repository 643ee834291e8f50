"""What every committed measurement says of itself: when, on what machine, by which command."""
import datetime
import os


def cpu_model():
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")


def heading(command):
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 2)},
        "command": command,
    }
