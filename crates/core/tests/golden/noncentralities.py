"""Noncentralities by scipy.

    pip install scipy && python crates/core/tests/golden/noncentralities.py > crates/core/tests/golden/noncentralities.json

Every case: a ratio of sums of squares, the numbers of squares in both, a probability, and the noncentrality with which a ratio as
large or larger has that probability (0 where noise alone has it more often).
"""

import itertools
import json

from scipy.optimize import brentq
from scipy.stats import f, ncf


def noncentrality(ratio, signal, noise, upper):
    value = ratio * noise / signal
    if f.sf(value, signal, noise) >= upper:
        return 0.0
    high = 1.0
    while ncf.sf(value, signal, noise, high) < upper:
        high *= 2.0
    return brentq(lambda x: ncf.sf(value, signal, noise, x) - upper, 1e-12, high, xtol=1e-10)


cases = itertools.product(
    [0.001, 0.2, 0.9, 3.0, 40.0], [(1, 8), (5, 5), (24, 25), (75, 164), (15, 1700)], [0.025, 0.5, 0.975]
)
rows = [[ratio, signal, noise, upper, noncentrality(ratio, signal, noise, upper)] for ratio, (signal, noise), upper in cases]
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
