"""What pymoo's NSGA-II reaches on a small problem.

    pip install pymoo moocore && python crates/core/tests/golden/nsga2.py > crates/core/tests/golden/nsga2.json

Eight places with one of four blocks each: 65,536 architectures. A block has two costs at its place, and so do neighbours
together; both sums are to be small. Population 40, uniform crossover with probability 0.9, one random change with probability 0.9,
duplicates removed. For 20 seeds, the share of the hypervolume of the true front (all 65,536 enumerated) after 400 and 1,000
evaluations.
"""

import itertools
import json

import moocore
import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

PLACES, BLOCKS = 8, 4


def costs(x):
    """Whole numbers from a small recurrence, so that any language has the same problem."""
    x = np.asarray(x, dtype=np.int64)
    single = lambda f, p, b: (37 * (f + 1) * (p + 3) * (b * b + 2) + 11 * b * (f + 2)) % 101
    pair = lambda f, p, a, b: (53 * (f + 2) * (p + 1) * (a + 1) + 29 * (b + 1) * (b + f)) % 41
    sums = []
    for f in range(2):
        s = sum(single(f, p, x[:, p]) for p in range(PLACES))
        s = s + sum(pair(f, p, x[:, p], x[:, p + 1]) for p in range(PLACES - 1))
        sums.append(s)
    return np.column_stack(sums).astype(float)


class Chain(Problem):
    def __init__(self):
        super().__init__(n_var=PLACES, n_obj=2, xl=0, xu=BLOCKS - 1, vtype=int)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = costs(x)


class Uniform(Crossover):
    def __init__(self):
        super().__init__(2, 2, prob=0.9)

    def _do(self, problem, x, random_state=None, **kwargs):
        mask = random_state.random(x.shape[1:]) < 0.5
        y = x.copy()
        y[0][mask], y[1][mask] = x[1][mask], x[0][mask]
        return y


class OneChange(Mutation):
    def __init__(self):
        super().__init__(prob=0.9)

    def _do(self, problem, x, random_state=None, **kwargs):
        x = x.copy()
        for row in x:
            place = random_state.integers(PLACES)
            row[place] = (row[place] + random_state.integers(1, BLOCKS)) % BLOCKS
        return x


everything = costs(np.array(list(itertools.product(range(BLOCKS), repeat=PLACES))))
reference = everything.max(axis=0)
best = moocore.hypervolume(everything, ref=reference)
shares = {}
for evaluations in (400, 1000):
    shares[evaluations] = []
    for seed in range(20):
        algorithm = NSGA2(pop_size=40, sampling=IntegerRandomSampling(), crossover=Uniform(), mutation=OneChange(), eliminate_duplicates=True)
        result = minimize(Chain(), algorithm, ("n_eval", evaluations), seed=seed, save_history=True)
        seen = np.vstack([h.pop.get("F") for h in result.history])
        shares[evaluations].append(round(moocore.hypervolume(seen, ref=reference) / best, 6))
print(json.dumps({"reference": reference.tolist(), "hypervolume": best, "front": int(moocore.is_nondominated(np.unique(everything, axis=0)).sum()), "shares": shares}))
