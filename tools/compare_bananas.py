"""BANANAS and regularised evolution as their authors published them (the package naszilla), on a space whose best is known.

    pip install tensorflow-cpu==2.15.1 matplotlib scipy
    pip install --no-deps naszilla==1.0
    cargo run --release -p blocklens-studies --bin enumerable -- acc_predictor.pth 20 values.csv
    python tools/compare_bananas.py values.csv --seeds 10

The space is that of the example `enumerable`: the kernels of ten layers of OFA-MobileNetV3, and the accuracy of every
architecture. The algorithms, the networks that predict, and how these are trained are naszilla's, with the settings that it calls
`standard` (10 random architectures, then batches of 10 from 100 mutations of the best). Its spaces are cells, so the space is
given to it here: a one-hot encoding, and mutations as in its NAS-Bench-201 (each of n places changes with
probability 1/(n - 2)).
TensorFlow 2 no longer takes the name `lr` for the learning rate, which is passed on under its new name.
"""

import argparse
import contextlib
import io
import math
import os
import statistics
import sys
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What naszilla imports for its other spaces and algorithms, and is not used here.
for name, members in {
    "nasbench": ["api"], "nas_201_api": ["NASBench201API"], "nasbench301": [], "naszilla.nas_bench_101.cell_101": ["Cell101"],
    "naszilla.nas_bench_201.cell_201": ["Cell201"], "naszilla.nas_bench_301.cell_301": ["Cell301"], "naszilla.bo": [], "naszilla.bo.bo": [],
    "naszilla.bo.bo.probo": ["ProBO"], "naszilla.gcn": [], "naszilla.gcn.model": ["NeuralPredictor"], "naszilla.gcn.train_gcn": ["fit", "predict"],
}.items():
    sys.modules[name] = types.ModuleType(name)
    for member in members:
        setattr(sys.modules[name], member, None)

import numpy as np
import tensorflow as tf
from naszilla import meta_neural_net, nas_algorithms, nas_benchmarks, params

Adam = meta_neural_net.keras.optimizers.Adam
meta_neural_net.keras.optimizers.Adam = lambda lr, **rest: Adam(learning_rate=lr, **rest)

KERNELS = [3, 5, 7]
LOOKS = [50, 100, 150]


class Cell:
    """An architecture, or none, as naszilla asks for it."""

    def __init__(self, values, arch=None):
        self.values, self.arch = values, arch

    def random_cell(self, nasbench, **rest):
        return tuple(np.random.choice(KERNELS, self.values["layers"]).tolist())

    def encode(self, **rest):
        return [int(kernel == k) for kernel in self.arch for k in KERNELS]

    def mutate(self, nasbench, mutation_rate=1, **rest):
        other = lambda k: int(np.random.choice([x for x in KERNELS if x != k]))
        changes = np.random.rand(len(self.arch)) < mutation_rate / (len(self.arch) - 2)
        return tuple(other(k) if change else k for k, change in zip(self.arch, changes))

    def get_val_loss(self, nasbench, **rest):
        return 100 - self.values[self.arch]

    get_test_loss = get_val_loss

    def get_num_params(self, nasbench):
        return 1


class Space(nas_benchmarks.Nasbench):
    def __init__(self, values):
        self.values, self.nasbench, self.dataset, self.index_hash = values, None, None, None

    def get_cell(self, arch=None):
        return Cell(self.values, arch)

    def get_hash(self, arch):
        return arch

    def get_type(self):
        return "kernels"


def read(path):
    values = {}
    for line in open(path):
        *kernels, value = line.split(",")
        values[tuple(map(int, kernels))] = float(value)
    values["layers"] = len(kernels)
    return values


def losses(algorithm, space, queries):
    with contextlib.redirect_stdout(io.StringIO()):
        if algorithm == "bananas":
            data = nas_algorithms.bananas(space, params.meta_neuralnet_params("standard"), total_queries=queries, verbose=0)
        else:
            data = nas_algorithms.evolution_search(space, total_queries=queries, verbose=0)
    # What is asked twice costs once.
    seen = {}
    for entry in data:
        seen.setdefault(entry["spec"], entry["val_loss"])
    return list(seen.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("values")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--queries", type=int, default=150)
    arguments = parser.parse_args()
    values = read(arguments.values)
    space, best = Space(values), 100 - max(v for k, v in values.items() if k != "layers")
    looks = [look for look in LOOKS if look <= arguments.queries]
    print("| naszilla | found the best | median evaluations to it | " + " | ".join(f"below it after {n}" for n in looks) + " |")
    print("|---|---:|---:|" + "---:|" * len(looks))
    for algorithm in ["evolution", "bananas"]:
        reached, regrets = [], []
        for seed in range(1, arguments.seeds + 1):
            np.random.seed(seed)
            tf.random.set_seed(seed)
            found = losses(algorithm, space, arguments.queries)
            reached.append(next((i for i, loss in enumerate(found, 1) if loss <= best), math.inf))
            regrets.append([min(found[:look]) - best for look in looks])
        median = statistics.median(reached)
        median = f"{median:.0f}" if math.isfinite(median) else f"> {arguments.queries}"
        means = " | ".join(f"{statistics.mean(column):.3f}" for column in zip(*regrets))
        count = sum(map(math.isfinite, reached))
        print(f"| `{algorithm}` | {count} of {arguments.seeds} | {median} | {means} |", flush=True)


if __name__ == "__main__":
    main()
