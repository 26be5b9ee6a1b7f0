"""Compares fronts, hypervolumes and epsilons with moocore and pymoo, and times sorting side by side.

    pip install moocore pymoo
    cargo build --release -p blocklens-studies --bin fronts
    python tools/check_fronts.py target/release/fronts

1,000 random pairs of sets of up to 200 points in 2 to 4 objectives: half of them of real numbers, half on grids (ties, equal
points). Then non-dominated sorting of a million points in two objectives, five times each.
"""

import json
import subprocess
import sys
import time

import moocore
import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

binary = sys.argv[1]
rng = np.random.default_rng(7)
cases = []
for case in range(1000):
    m = 2 + case % 3
    n, k = rng.integers(1, 201, size=2)
    if case % 2:
        a, b = rng.integers(0, 12, size=(n, m)).astype(float), rng.integers(0, 12, size=(k, m)).astype(float)
        r = rng.integers(8, 13, size=m).astype(float)
    else:
        a, b = rng.normal(size=(n, m)), rng.normal(size=(k, m))
        r = rng.uniform(0, 3, size=m)
        a[: n // 4] = a[rng.integers(0, n, size=n // 4)]
    cases.append((rng.random(m) < 0.5, a, b, r))
lines = "".join(
    json.dumps({"d": "".join("h" if h else "l" for h in d), "a": (a * np.where(d, -1, 1)).tolist(),
                "b": (b * np.where(d, -1, 1)).tolist(), "r": (r * np.where(d, -1, 1)).tolist()}) + "\n"
    for d, a, b, r in cases
)
answers = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
assert len(answers) == len(cases)
worst_hv = worst_eps = 0.0
for (d, a, b, r), line in zip(cases, answers):
    answer = json.loads(line)
    ranks = np.zeros(len(a), dtype=int)
    for rank, members in enumerate(NonDominatedSorting().do(a)):
        ranks[members] = rank
    assert answer["ranks"] == ranks.tolist() == moocore.pareto_rank(a).tolist()
    for hv in (moocore.hypervolume(a, ref=r), HV(ref_point=r)(a)):
        worst_hv = max(worst_hv, abs(answer["hv"] - hv) / max(hv, 1.0))
    worst_eps = max(worst_eps, abs(answer["eps"] - moocore.epsilon_additive(a, ref=b)))
assert worst_hv < 1e-9 and worst_eps < 1e-12, (worst_hv, worst_eps)
print(f"1,000 sets: ranks equal; hypervolumes within {worst_hv:.1e} (relative), epsilons within {worst_eps:.1e}")

million = rng.random((1_000_000, 2))
ours = json.loads(subprocess.run([binary, "--speed", "1000000"], capture_output=True, text=True, check=True).stdout)["seconds"]
theirs = []
for _ in range(5):
    begin = time.perf_counter()
    moocore.pareto_rank(million)
    theirs.append(time.perf_counter() - begin)
print(f"a million points: {np.median(ours):.3f} s here, {np.median(theirs):.3f} s moocore (medians of 5)")
