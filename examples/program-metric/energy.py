#!/usr/bin/env python3
"""A metric for blocklens: energy of a network, guessed from its layers.

    blocklens evaluate --metric "energy@program:python3 examples/program-metric/energy.py"

One line of JSON comes in for each architecture of OFA-MobileNetV3, one goes out; docs/program-metrics.md has the
rules. Put a power meter in the place of `energy`.
"""

import json
import sys

# Relative costs of a 3x3, 5x5 and 7x7 depthwise convolution beside its two pointwise ones.
KERNELS = {3: 1.0, 5: 1.2, 7: 1.5}
# Millijoules of a layer of expansion 1 at 224 pixels, and of everything but the layers.
LAYER, REST = 0.4, 8.0


def energy(ofa):
    layers = 0.0
    for unit, depth in enumerate(ofa["d"]):
        for layer in range(4 * unit, 4 * unit + depth):
            layers += ofa["e"][layer] * KERNELS[ofa["ks"][layer]]
    return (REST + LAYER * layers) * (ofa["r"][0] / 224) ** 2


def say(answer):
    print(json.dumps(answer), flush=True)


sys.stdin.readline()  # what blocklens says of itself and the space
about = {"about": "A guess from its layers.", "origin": "surrogate"}
say({"metrics": [{"name": "energy", "unit": "mJ", "direction": "lower-is-better", **about}]})
for line in sys.stdin:
    question = json.loads(line)
    if "ks" not in question.get("ofa", {}):
        say({"id": question["id"], "failure": "this guess is for OFA-MobileNetV3 only"})
        continue
    say({"id": question["id"], "values": {"energy": energy(question["ofa"])}})
