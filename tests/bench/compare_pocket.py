"""Our actor's and learner's work on the pocket model against the same maths in Python: runs both sides in turn and compares them.

    python tests/bench/compare_pocket.py --pocket-work build/release/tests/bench/pocket_work --out compare_pocket.json [key=value ...]

Run it with a Python that has tests/oracles/requirements.txt; key=value overrides the configuration of both sides. Each round runs our side and then Python's,
with the same threads, batches and number type. First one update is dumped by our side and recomputed by Python tensor by tensor. Exit status 1 when a tensor
differs, or when the sides did not do the same number of forward and backward passes; the speeds are a result, not a verdict.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from measurement import heading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORACLE = os.path.join(ROOT, "tests", "oracles", "bench_pocket.py")


def run(command, threads):
    """Standard output of a command; what it says on standard error is shown when it fails."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive")
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"[compare] {' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def sides(options, folder):
    ours = [options.pocket_work, "--config", options.config, f"actors.threads={options.threads}", f"learner.threads={options.threads}", *options.overrides]
    like, dump = os.path.join(folder, "like.json"), os.path.join(folder, "dump.safetensors")
    with open(like, "w") as file:
        file.write(run([*ours, "--updates", "1", "--dump", dump], options.threads))
    python = [sys.executable, "-W", "ignore", ORACLE, "--like", like, "--lora", options.lora]
    if options.prompts:
        python += ["--prompts", options.prompts]
    print(run([*python, "--check", dump], options.threads), file=sys.stderr)
    return dict(nabla=ours, python=python)


def measure(options):
    results = dict(nabla=[], python=[])
    with tempfile.TemporaryDirectory() as folder:
        commands = sides(options, folder)
        for number in range(options.rounds):
            for side, command in commands.items():
                result = json.loads(run([*command, "--updates", str(options.updates)], options.threads))
                results[side].append(result)
                print(f"round {number + 1}, {side}: {result['unique_transitions_per_second']:.2f} transitions/s, "
                      f"{statistics.median(result['update_cpu_seconds']):.2f} s of processor an update", file=sys.stderr)
    return results


def summary_of(runs):
    """Medians over all updates of all rounds; a stage's seconds are the median of its rounds."""
    transitions = runs[0]["unique_transitions_per_update"]
    wall, cpu = ([value for run in runs for value in run[key]] for key in ("update_seconds", "update_cpu_seconds"))
    stages = {name: {key: statistics.median(run["stages"][name][key] for run in runs) for key in cost} for name, cost in runs[0]["stages"].items()}
    return dict(unique_transitions_per_second=transitions / statistics.median(wall), update_seconds=statistics.median(wall),
                update_cpu_seconds=statistics.median(cpu), fastest_update_seconds=min(wall), peak_rss_mib=max(run["peak_rss_mib"] for run in runs),
                matrix_product_gflop_per_second=statistics.median(run["matrix_product_gflop_per_second"] for run in runs), stages=stages)


def compare(results):
    nabla, python = (summary_of(results[side]) for side in ("nabla", "python"))
    counts = [run["counts_per_update"] for runs in results.values() for run in runs]
    report = dict(ratio=nabla["unique_transitions_per_second"] / python["unique_transitions_per_second"],
                  ratio_of_processor_seconds=python["update_cpu_seconds"] / nabla["update_cpu_seconds"],
                  ratio_of_fastest_updates=python["fastest_update_seconds"] / nabla["fastest_update_seconds"],
                  stage_ratios={name: cost["seconds"] / nabla["stages"][name]["seconds"] for name, cost in python["stages"].items() if name in nabla["stages"]},
                  counts_agree=all(count == counts[0] for count in counts), counts_per_update=counts[0], settings=results["nabla"][0]["settings"],
                  number_type="float32", nabla=nabla, python=dict(python, lora=results["python"][0]["lora"]), runs=results)
    if not report["counts_agree"]:
        print("[compare] the sides did different work:\n" + "\n".join(sorted({json.dumps(count, sort_keys=True) for count in counts})), file=sys.stderr)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pocket-work", default=os.path.join(ROOT, "build", "release", "tests", "bench", "pocket_work"))
    parser.add_argument("--config", default=os.path.join(ROOT, "configs", "pocket.yaml"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=5, help="timed updates a side and round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lora", choices=("merged", "adapter"), default="merged", help="how the Python side samples; merged is the faster way")
    parser.add_argument("--prompts", help="prompts of the Python side, one a line; default: those of the model folder")
    parser.add_argument("--out", help="file for the JSON; default: standard output")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args()
    command = "python tests/bench/compare_pocket.py " + " ".join(sys.argv[1:])
    report = {**heading(command.strip()), **compare(measure(options))}
    with open(options.out, "w") if options.out else sys.stdout as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    print(f"ratio of unique transitions per second: {report['ratio']:.3f} (processor seconds {report['ratio_of_processor_seconds']:.3f}, "
          f"fastest updates {report['ratio_of_fastest_updates']:.3f})", file=sys.stderr)
    sys.exit(0 if report["counts_agree"] else 1)


if __name__ == "__main__":
    main()
