"""Compares `blocklens evaluate` with the `ofa` package on random architectures, and times both.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pyyaml
    python tools/check_metrics.py BLOCKLENS DATA [COUNT]

BLOCKLENS is the program, DATA a folder with the files as they are published (see
crates/core/tests/golden/published_metrics.py). COUNT architectures (1,000 when not given) are compared for each
resolution of the Note10 tables, for the Pixel table and for both accuracy predictors: latencies must agree within 1e-9 ms,
accuracies within 1e-5 (as fractions). Then the same architectures get both metrics of OFA-MobileNetV3 from the package
and from blocklens, and the rates are printed.
"""

import json
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "crates/core/tests/golden"))
import published_metrics as package  # noqa: E402
import torch  # noqa: E402

# Architectures that the speed of blocklens is measured on: the package gets fewer.
MANY = 400_000


def evaluate(program, arguments, lines):
    command = [program, "--format", "json", "evaluate", *arguments]
    found = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in found.stdout.splitlines()]


def compare(name, program, arguments, archs, expected, scale, limit):
    found = evaluate(program, arguments, [json.dumps(arch) for arch in archs])
    assert len(found) == len(archs), (name, len(found))
    worst = max(abs(line["value"] * scale - value) for line, value in zip(found, expected))
    print(f"{name}: {len(archs)} architectures, largest difference {worst:.2e}")
    return worst <= limit


def check_latencies(program, data, count):
    fine = True
    for resolution in package.NOTE10:
        sets = package.latencies(data, count, random.Random(resolution), [resolution])
        for name, rows in sets.items():
            if name == "pixel" and resolution != 224:
                continue
            archs = [{k: row[k] for k in ("ks", "e", "d", "r")} for row in rows]
            folder = data / ("ofa/note10" if name == "note10" else "proxylessnas")
            arguments = ["--metric", f"latency@{folder}"]
            if name == "pixel":
                arguments += ["--space", "ofa-proxyless", "--width", "1.0"]
            expected = [row["latency_ms"] for row in rows]
            label = f"{name} at {resolution}"
            fine &= compare(label, program, arguments, archs, expected, 1.0, 1e-9)
    return fine


def check_accuracies(program, data, count):
    fine = True
    for name, rows in package.accuracies(data, count, random.Random(4)).items():
        resnet = name == "ofa-resnet50"
        file = data / "ofa" / ("ofa_resnet50_acc_predictor.pth" if resnet else "acc_predictor.pth")
        space = "ofa-resnet50" if resnet else "ofa-mbv3"
        archs = [{k: v for k, v in row.items() if k != "accuracy"} for row in rows]
        arguments = ["--space", space, "--metric", f"accuracy@{file}"]
        expected = [row["accuracy"] for row in rows]
        fine &= compare(f"accuracy of {name}", program, arguments, archs, expected, 0.01, 1e-5)
    return fine


def speed(program, data, count):
    archs = [package.mobile(random.Random(i), 20, 5, [3, 4, 6], [224]) for i in range(count)]
    predict = package.tutorial_predictor(data)
    table = {224: package.table(package.MBv3LatencyTable, data / "ofa/note10/224_lookup_table.yaml")}
    choices = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    network = package.OFAMobileNetV3(width_mult=1.2, **choices)
    began = time.perf_counter()
    with torch.no_grad():
        predict(archs)
        for arch in archs:
            package.latency(network, table, arch)
    package_rate = count / (time.perf_counter() - began)
    metrics = f"accuracy@{data}/ofa/acc_predictor.pth,latency@{data}/ofa/note10"
    lines = [json.dumps(arch) for arch in archs] * (MANY // count)
    text = "\n".join(lines).encode()
    command = [program, "--format", "json", "evaluate", "--metric", metrics]
    began = time.perf_counter()
    subprocess.run(command, input=text, stdout=subprocess.DEVNULL, check=True)
    rate = len(lines) / (time.perf_counter() - began)
    print(f"both metrics: the ofa package {package_rate:,.0f}/s, blocklens evaluate {rate:,.0f}/s")
    print(f"({rate / package_rate:,.0f} times as many; JSON lines in and out, all threads of each)")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    program, data = sys.argv[1], pathlib.Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) == 4 else 1_000
    fine = check_latencies(program, data, count)
    fine &= check_accuracies(program, data, count)
    speed(program, data, count)
    if not fine:
        sys.exit("differences are too large")


if __name__ == "__main__":
    main()
