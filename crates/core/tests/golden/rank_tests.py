"""Rank tests by scipy.

    pip install scipy && python crates/core/tests/golden/rank_tests.py > crates/core/tests/golden/rank_tests.json
"""

import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(1947)
cases = []
for case in range(60):
    n, m = (int(x) for x in rng.integers(1, 31, size=2))
    shift = float(rng.choice([0, 0.5, 1, 3]))
    a, b = rng.normal(shift, 1, size=n), rng.normal(0, 1, size=m)
    if case % 2:
        a, b = np.round(a), np.round(b)
    a, b = np.round(a, 6), np.round(b, 6)
    tied = len(set(a) | set(b)) < n + m
    normal = stats.mannwhitneyu(a, b, method="asymptotic")
    if tied and np.ptp(np.concatenate([a, b])) == 0:
        continue
    exact = None if tied else float(stats.mannwhitneyu(a, b, method="exact").pvalue)
    cases.append({"a": a.tolist(), "b": b.tolist(), "u": float(normal.statistic), "exact": exact, "normal": float(normal.pvalue)})

print(json.dumps({"mann_whitney": cases}, separators=(",", ":")))
