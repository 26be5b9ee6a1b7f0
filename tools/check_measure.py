"""`blocklens measure` against a loop that anybody would write: ONNX Runtime from Python, interleaved.

    pip install onnxruntime numpy
    python tools/check_measure.py target/release/blocklens [ROUNDS] [FILE.onnx FILE.onnx]

Two networks (files that are given, such as exports of torch, or two architectures that blocklens exports) are timed by `blocklens measure --device
ort` and, in as many processes of its own, by a plain loop: one warmed-up inference of each after the other. The two ways alternate, round by round,
so that both feel the same machine. Printed is the ratio of the networks' times by each way, with the interval of Student's t over rounds, and how far the
ways are from each other; the exit status says whether they agree within their intervals.

The library that `ort` loads is the one of the Python that runs this, so that both ways are the same version.
"""

import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ARCHITECTURES = {
    "small": "r128/" + "/".join(["e3k3,e3k3"] * 5),
    "large": "r128/" + "/".join(["e6k5,e6k5,e6k5"] * 5),
}
# Two-sided 97 % points of Student's t, as blocklens takes them, by degrees of freedom from 1.
POINTS = [21.205, 5.643, 3.896, 3.298, 3.003, 2.829, 2.715, 2.634, 2.574, 2.527, 2.491, 2.461, 2.436, 2.415, 2.397]
SAMPLES = 60

LOOP = """
import sys, time, statistics, numpy, onnxruntime
def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = made.get_inputs()[0]
    shape = [n if isinstance(n, int) else 1 for n in given.shape]
    tensor = numpy.random.default_rng(1).uniform(-2, 2, shape).astype(numpy.float32)
    return lambda: made.run(None, {given.name: tensor})
def timed(run):
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
order = sys.argv[1:3] if sys.argv[3] == "0" else sys.argv[2:0:-1]
runs = {path: session(path) for path in order}
for _ in range(10):
    for run in runs.values():
        run()
times = {path: [] for path in order}
for _ in range(int(sys.argv[4])):
    for path, run in runs.items():
        times[path].append(timed(run))
a, b = (times[path] for path in sys.argv[1:3])
print(statistics.median(y / x for x, y in zip(a, b)))
"""


def library():
    import onnxruntime

    folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
    return str(next(folder.glob("libonnxruntime.*")))


def pinned():
    """The last CPU, as blocklens chooses it where all are alike."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def by_loop(files, number):
    words = [sys.executable, "-c", LOOP, *files, str(number % 2), str(SAMPLES)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, preexec_fn=pinned)
    return math.log(float(done.stdout))


def by_measure(binary, files, number):
    """One round; the ratio is the only one that a report of one round has."""
    words = [binary, "--format", "json", "measure", "--quiet", "--device", "ort", "--rounds", "1", "--seed", str(number + 1), *files]
    environment = os.environ | {"ORT_DYLIB_PATH": library()}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    entries = json.loads(done.stdout)["entries"]
    ratios = [entry["relative"]["ratio"] if entry["relative"] else 1 for entry in entries]
    return math.log(ratios[1] / ratios[0])


def told(name, logs):
    middle, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    width = POINTS[min(len(logs) - 1, len(POINTS)) - 1] * error
    low, high = math.exp(middle - width), math.exp(middle + width)
    print(f"{name:<20} {math.exp(middle):.4f} ({low:.4f} to {high:.4f})")
    return abs(middle) <= width


def exported(binary, folder):
    files = []
    for name, arch in ARCHITECTURES.items():
        files.append(f"{folder}/{name}.onnx")
        subprocess.run([binary, "arch", "export", arch, "--output", files[-1]], check=True, capture_output=True)
    return files


def main():
    binary = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with tempfile.TemporaryDirectory() as folder:
        files = sys.argv[3:5] if len(sys.argv) > 4 else exported(binary, folder)
        ways = {"blocklens measure": [], "a loop in Python": []}
        for number in range(rounds):
            ways["blocklens measure"].append(by_measure(binary, files, number))
            ways["a loop in Python"].append(by_loop(files, number))
    print(f"second network's time over the first's, {rounds} rounds")
    for name, logs in ways.items():
        told(name, logs)
    apart = [a - b for a, b in zip(*ways.values())]
    sys.exit(0 if told("one over the other", apart) else "the two ways disagree")


main()
