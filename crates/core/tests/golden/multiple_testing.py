"""Writes multiple_testing.json: what scipy says about corrections for many comparisons.

    python multiple_testing.py > multiple_testing.json

Made with scipy 1.x; needs `multivariate_t.cdf` with lower limits (scipy 1.10 or later).
"""

import json

import numpy as np
import scipy
from scipy.optimize import brentq
from scipy.stats import false_discovery_control, multivariate_t, studentized_range, t

rng = np.random.default_rng(7)


def p_values(n, true):
    z = rng.normal(size=n) + np.where(np.arange(n) < true, 3.0, 0.0)
    return 2.0 * t.sf(np.abs(z), 40)


def holm(p):
    order = np.argsort(p)
    n = len(p)
    stepped = np.maximum.accumulate((n - np.arange(n)) * p[order])
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def equicoordinate(correlation, df, level=0.95):
    """c with P(max |T| <= c) = level, by scipy's cubature."""
    k = len(correlation)

    def excess(c):
        return (
            multivariate_t.cdf(
                np.full(k, c), np.zeros(k), correlation, df,
                lower_limit=np.full(k, -c), maxpts=2_000_000, random_state=1,
            )
            - level
        )

    return brentq(excess, 1.5, 8.0, xtol=1e-4)


def autoregressive(k, rho):
    i = np.arange(k)
    return rho ** np.abs(i[:, None] - i[None, :])


sets = [p_values(1, 0), p_values(5, 1), p_values(40, 10), p_values(180, 30)]
sets.append(np.array([0.04, 0.04, 0.001, 0.04, 1.0, 0.9, 0.001]))
criticals = [
    (correlation.tolist(), df, equicoordinate(correlation, df))
    for correlation, df in [
        (autoregressive(4, 0.8), 10),
        (autoregressive(6, 0.5), 30),
        (np.full((5, 5), 0.9) + 0.1 * np.eye(5), 20),
        (autoregressive(3, -0.6), 5),
    ]
]
print(
    json.dumps(
        {
            "scipy": scipy.__version__,
            "adjusted": [
                {
                    "p": p.tolist(),
                    "bh": false_discovery_control(p, method="bh").tolist(),
                    "by": false_discovery_control(p, method="by").tolist(),
                    "holm": holm(p).tolist(),
                }
                for p in sets
            ],
            # Equicoordinate two-sided 95 % points of the multivariate t.
            "max_t": [
                {"correlation": c, "df": df, "critical": value} for c, df, value in criticals
            ],
            # Tukey: all pairs of k independent means with one variance.
            "tukey": [
                {"k": k, "df": df, "critical": studentized_range.ppf(0.95, k, df) / 2**0.5}
                for k, df in [(3, 10), (9, 40), (20, 25)]
            ],
        },
        indent=1,
    )
)
