"""For how long to sample: how well the multiple of a network repeats from session to session, by seconds of sampling.

    pip install numpy
    python tools/sampling_study.py target/release/blocklens [ENGINE] [SESSIONS]

A random network of OFA-MobileNetV3 (160 pixels, one thread) and the largest are measured by blocklens in turn with the smallest, again and
again, each time in a process of its own and for 4 s. What shorter sampling would have given is read off the beginning of each session. Printed is the standard
deviation of the logarithm of the multiple over sessions, after a straight line in that of the reference's time (the machine's pace) is taken out,
and what the spread of the samples within a session alone would explain (bootstrap).
"""

import json
import subprocess
import sys

import numpy as np

LARGEST = "r160/" + "/".join([",".join(["e6k7"] * 4)] * 5)
MIDDLING = "r160/e3k7,e6k5,e6k5,e3k7/e6k3,e3k3,e3k7/e3k3,e4k7/e3k7,e4k5,e6k5/e3k7,e6k3,e6k7,e4k7"
SECONDS = (0.5, 1, 2, 4)
FEWEST = 5


def job(source, engine, arch, position):
    """The order that `blocklens worker` reads."""
    protocol = dict(
        warm_up_runs=6, warm_up_s=0.1, max_warm_up_s=1.0, min_samples=15, max_samples=1000, max_s=max(SECONDS),
        target_half_width=0.0, paired=True,
    )
    space = dict(name="ofa-mbv3", source=dict(text=source), width=1.2)
    return dict(
        space=space, arch=arch, engine=engine, threads=1, weights_seed=1, session_seed=1, position=position, attempt=0,
        protocol=protocol, memory_limit_mib=None,
    )


def session(binary, order):
    """Logarithms of the multiples of one session, the seconds that had gone by after each, and the reference's median in ms."""
    worker = subprocess.Popen([binary, "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Standard input stays open: a worker ends with whoever holds it.
    worker.stdin.write(json.dumps(order) + "\n")
    worker.stdin.flush()
    answer = [line for line in worker.stdout if line.startswith("blocklens-outcome ")][-1]
    worker.stdin.close()
    worker.wait()
    outcome = json.loads(answer.split(" ", 1)[1])
    if "Ok" not in outcome:
        sys.exit(f"a measurement failed: {outcome}")
    walls = lambda samples: np.array([sample["wall"] for sample in samples])
    network, reference = walls(outcome["Ok"]["samples"]), walls(outcome["Ok"]["reference"])
    multiples = np.log(network / ((reference[1:] + reference[:-1]) / 2))
    return multiples, np.cumsum(network + reference[1:]) / 1e3, np.median(reference)


def study(name, sessions):
    paces = np.log([pace for _, _, pace in sessions])
    line = np.column_stack([np.ones(len(paces)), paces])
    for seconds in SECONDS:
        taken = [m[: max(FEWEST, np.searchsorted(s, seconds, side="right"))] for m, s, _ in sessions]
        medians = np.array([np.median(m) for m in taken])
        left = medians - line @ np.linalg.lstsq(line, medians, rcond=None)[0]
        random = np.random.default_rng(1)
        within = [np.median(random.choice(m, (200, len(m))), axis=1).var() for m in taken]
        print(f"| {name} | {seconds} s | {100 * left.std(ddof=2):.1f} % | {100 * np.sqrt(np.mean(within)):.1f} % |")


def main():
    binary = sys.argv[1]
    engine = sys.argv[2] if len(sys.argv) > 2 else "tract"
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    source = subprocess.run([binary, "space", "show", "ofa-mbv3", "--source"], check=True, capture_output=True, text=True).stdout
    networks = {"middling": MIDDLING, "largest": LARGEST}
    sessions = {name: [] for name in networks}
    for position in range(count):
        for name, arch in networks.items():
            sessions[name].append(session(binary, job(source, engine, arch, position)))
    print("| network | sampled for | from session to session | of that, within sessions |\n|---|---:|---:|---:|")
    for name in networks:
        study(name, sessions[name])


main()
