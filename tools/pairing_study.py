"""What turns with a reference network do to latencies: how well they repeat, and how far they are from a hot loop.

    pip install onnxruntime numpy
    python tools/pairing_study.py target/release/blocklens [NETWORKS]

Random networks (160 pixels) are timed with ONNX Runtime on one thread, twice each, every time in a process of its own:

- alone: the median of a second of inferences, as most tools do it;
- in turn: every inference is followed by one of the space's smallest network, and its time divided by the mean of
  those around it; the median of these;
- in bursts of 8: the same, with 8 inferences of one network before 8 of the other.

Printed is how far the two times of a network are apart (the standard deviation of one), and, from processes that alternate between
turns and hot loops, how much longer an inference takes in turn than in a loop. Independent of blocklens' own measuring code.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESOLUTION = 160
SECONDS = 1.5
WAYS = ("alone", "turns", "bursts")


def session(path):
    """A function that runs the network once and returns the milliseconds it took."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = loaded.get_inputs()[0]
    image = np.random.default_rng(0).normal(size=[1, 3, RESOLUTION, RESOLUTION])
    feed = {given.name: image.astype(np.float32)}

    def run():
        start = time.perf_counter()
        loaded.run(None, feed)
        return (time.perf_counter() - start) * 1e3

    return run


def rounds(network, reference, burst):
    """Times of bursts of both networks in turn: arrays (rounds, burst)."""
    ours, theirs, spent = [], [], 0.0
    while spent < SECONDS * 1e3:
        theirs.append([reference() for _ in range(burst)])
        ours.append([network() for _ in range(burst)])
        spent += sum(theirs[-1]) + sum(ours[-1])
    theirs.append([reference() for _ in range(burst)])
    return np.array(ours), np.array(theirs)


def relative(ours, theirs):
    """The median multiple of the reference around each burst."""
    ours, theirs = np.median(ours, axis=1), np.median(theirs, axis=1)
    return float(np.median(2 * ours / (theirs[:-1] + theirs[1:])))


def measure(way, network_file, reference_file):
    """One number: a latency (alone), a multiple of the reference, or turns over loop (slower)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    network = session(network_file)
    if way == "alone":
        for _ in range(20):
            network()
        times, spent = [], 0.0
        while spent < SECONDS * 1e3:
            times.append(network())
            spent += times[-1]
        return float(np.median(times))
    reference = session(reference_file)
    for _ in range(10):
        network(), reference()
    if way in ("turns", "bursts"):
        return relative(*rounds(network, reference, 1 if way == "turns" else 8))
    ratios, spent = [], 0.0
    while spent < 2 * SECONDS * 1e3:
        turns = []
        for _ in range(8):
            reference()
            turns.append(network())
        loop = [network() for _ in range(8)]
        # The first ones still feel what came before.
        ratios.append(np.median(turns[4:]) / np.median(loop[4:]))
        spent += sum(turns) + sum(loop)
    return float(np.median(ratios))


def in_process(way, network, reference):
    command = [sys.executable, __file__, "--one", way, network, reference]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def export(blocklens, count, folder):
    """Files of the smallest network and of random ones."""
    draw = [blocklens, "arch", "sample", "-n", str(count), "--seed", "11", "--resolution", str(RESOLUTION)]
    archs = subprocess.run(draw, check=True, capture_output=True, text=True).stdout.split()
    # The smallest of OFA-MobileNetV3: two layers in each of five units, every one the first candidate.
    archs.insert(0, f"r{RESOLUTION}/" + "/".join(["e3k3,e3k3"] * 5))
    files = []
    for number, arch in enumerate(archs):
        files.append(str(Path(folder) / f"{number}.onnx"))
        subprocess.run([blocklens, "arch", "export", arch, "--output", files[-1]], check=True, stdout=subprocess.DEVNULL)
    return files[0], files[1:]


def main():
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(*sys.argv[2:])))
        return
    blocklens, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with tempfile.TemporaryDirectory() as folder:
        reference, networks = export(blocklens, count, folder)
        values = {way: [[], []] for way in WAYS + ("slower",)}
        for repetition in (0, 1):
            for network in networks:
                for way, pair in values.items():
                    pair[repetition].append(in_process(way, network, reference))
    for way in WAYS:
        first, second = np.log(values[way])
        print(f"{way}: one time is within {100 * np.std(second - first) / 2**0.5:.2f} % (standard deviation)")
    first, second = np.array(values["slower"])
    own = np.cov(first, second)[0, 1]
    print(
        f"in turn an inference takes {100 * (np.mean([first, second]) - 1):.1f} % longer than in a loop; "
        f"networks differ in that by {100 * max(own, 0) ** 0.5:.1f} %"
    )


if __name__ == "__main__":
    main()
