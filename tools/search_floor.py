"""The hypervolume that every algorithm reaches on published data, over several seeds.

    cargo build --release -p blocklens
    blocklens data fetch ofa note10
    python tools/search_floor.py target/release/blocklens --budget 2100 --seeds 8

Accuracy predictor and Note10 table at 224 pixels, reference point 78 % and 65 ms, hypervolume in % ms. Each search is an
ordinary `blocklens search` in a folder of its own below --out, and goes on where it was when the script is run again.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--budget", type=int, default=2100)
parser.add_argument("--seeds", type=int, default=8)
parser.add_argument("--algorithms", default="random,mutation,evolution,nsga2,local,bananas")
parser.add_argument("--metric", default="accuracy@ofa,latency@note10")
parser.add_argument("--out", default="search-floor")
parser.add_argument("--threads", default="1")
args = parser.parse_args()
print(f"{'algorithm':<10} {'mean':>7} {'sd':>5} {'least':>7} {'most':>7} {'s/run':>7}")
for algorithm in args.algorithms.split(","):
    volumes, seconds = [], []
    for seed in range(1, args.seeds + 1):
        out = pathlib.Path(args.out) / f"{algorithm}-{args.budget}-{seed}"
        begin = time.perf_counter()
        command = [args.binary, "--format", "json", "search", "--metric", args.metric, "--width", "1.2", "--resolution", "224",
                   "--algorithm", algorithm, "--budget", str(args.budget), "--seed", str(seed), "--threads", args.threads,
                   "--reference", "accuracy=78,latency=65ms", "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds.append(time.perf_counter() - begin)
        summary = json.loads(done.stdout)
        assert summary["evaluated"] == args.budget, summary["evaluated"]
        volumes.append(summary["hypervolume"])
    spread = statistics.stdev(volumes) if len(volumes) > 1 else 0.0
    print(f"{algorithm:<10} {statistics.mean(volumes):7.1f} {spread:5.1f} {min(volumes):7.1f} {max(volumes):7.1f} {statistics.mean(seconds):7.1f}", flush=True)
