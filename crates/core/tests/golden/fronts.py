"""Fronts, hypervolumes, epsilons and attainment surfaces of random sets, by moocore and pymoo.

    pip install moocore pymoo && python crates/core/tests/golden/fronts.py > crates/core/tests/golden/fronts.jsonl

1,000 pairs of sets in 2 to 4 objectives on coarse grids, so that ties and equal points abound and every result is a whole
number. `d` holds the directions (l: lower is better, h: higher), `a` and `b` the sets, `r` the reference point; `ranks` are
pymoo's fronts of `a` (checked against moocore's), `hv` is moocore's hypervolume of `a` (checked against pymoo's), `eps` moocore's
additive epsilon of `a` against `b`. Every tenth line of two objectives has `eaf`: a, b and the union's halves as runs, and for each
number of runs the corners of the surface that moocore finds.
"""

import json
import sys

import moocore
import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

rng = np.random.default_rng(20210926)


def surfaces(runs):
    data = np.vstack([np.column_stack([run, np.full(len(run), i + 1)]) for i, run in enumerate(runs)])
    n = len(runs)
    found = moocore.eaf(data[:, :-1].astype(float), sets=data[:, -1], percentiles=[100 * (k + 1) / n for k in range(n)])
    levels = sorted(set(found[:, -1]))
    assert len(levels) == n
    return [sorted([int(x), int(y)] for x, y in found[found[:, -1] == level][:, :2]) for level in levels]


for case in range(1000):
    m = 2 + case % 3
    top = int(rng.choice([3, 9, 40]))
    sizes = rng.integers(1, 24, size=2)
    a, b = (rng.integers(0, top + 1, size=(n, m)) for n in sizes)
    higher = rng.random(m) < 0.5
    sign = np.where(higher, -1, 1)
    # Some points lie outside of the reference.
    r = np.where(higher, rng.integers(0, top // 2 + 1, size=m), top + 1 - rng.integers(0, top // 2 + 1, size=m))
    ca, cb, cr = a * sign, b * sign, r * sign
    ranks = np.zeros(len(a), dtype=int)
    for rank, members in enumerate(NonDominatedSorting().do(ca.astype(float))):
        ranks[members] = rank
    assert (moocore.pareto_rank(ca.astype(float)) == ranks).all()
    hv = moocore.hypervolume(ca.astype(float), ref=cr.astype(float))
    assert abs(hv - HV(ref_point=cr.astype(float))(ca.astype(float))) < 1e-9 * max(1.0, hv)
    eps = moocore.epsilon_additive(ca.astype(float), ref=cb.astype(float))
    line = {
        "d": "".join("h" if h else "l" for h in higher),
        "a": a.tolist(),
        "b": b.tolist(),
        "r": r.tolist(),
        "ranks": ranks.tolist(),
        "hv": round(hv),
        "eps": round(eps),
    }
    assert abs(hv - line["hv"]) < 1e-6 and abs(eps - line["eps"]) < 1e-9
    if m == 2 and case % 30 == 0:
        c = np.vstack([ca[::2], cb[::2]])
        line["runs"] = [(s * sign).tolist() for s in (ca, cb, c)]
        line["eaf"] = [sorted((np.array(s) * sign).tolist()) for s in surfaces([ca, cb, c])]
    json.dump(line, sys.stdout, separators=(",", ":"))
    print()
