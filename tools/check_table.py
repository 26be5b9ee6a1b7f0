"""Checks that the `ofa` package takes a table that `blocklens table` wrote, and reads the same latencies from it.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pyyaml
    blocklens table --space SPACE --width WIDTH --resolution 160 --out FOLDER
    python tools/check_table.py BLOCKLENS SPACE WIDTH FOLDER/160_lookup_table.yaml [COUNT]

SPACE is ofa-mbv3 or ofa-proxyless. The package's MBv3LatencyTable or ProxylessNASLatencyTable predicts COUNT random
architectures (500 when not given) from the file, and `blocklens evaluate --metric latency@FILE` does: they must agree
within 1e-9 ms.
"""

import json
import pathlib
import random
import sys

from check_metrics import evaluate
import published_metrics as package  # found by check_metrics
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets
from ofa.nas.efficiency_predictor import MBv3LatencyTable, ProxylessNASLatencyTable


def main():
    program, space, width, file, *rest = sys.argv[1:]
    count = int(rest[0]) if rest else 500
    file = pathlib.Path(file)
    resolution = int(file.name.split("_")[0])
    choices = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    if space == "ofa-mbv3":
        network, kind, layers, tail = OFAMobileNetV3, MBv3LatencyTable, 20, []
    else:
        network, kind, layers, tail = OFAProxylessNASNets, ProxylessNASLatencyTable, 21, [1]
    network = network(width_mult=float(width), **choices)
    tables = {resolution: package.table(kind, file)}
    rng = random.Random(3)
    archs = [package.mobile(rng, layers, 5, [3, 4, 6], [resolution]) for _ in range(count)]
    archs = [{**arch, "d": arch["d"] + tail} for arch in archs]
    expected = [package.latency(network, tables, arch) for arch in archs]
    arguments = ["--space", space, "--width", width, "--metric", f"latency@{file}"]
    found = evaluate(program, arguments, [json.dumps(arch) for arch in archs])
    worst = max(abs(line["value"] - value) for line, value in zip(found, expected, strict=True))
    print(f"{file}: {count} architectures, largest difference {worst:.2e} ms")
    sys.exit(worst > 1e-9)


if __name__ == "__main__":
    main()
