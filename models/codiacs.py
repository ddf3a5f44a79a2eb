"""CODIACS: two-stage stepped care for depression after an acute coronary syndrome

Question
--------
Which first treatment, medication or psychotherapy, and which second step (stay, or switch or
augment) after improvement and after none lowers depression most?

Design
------
108 patients with a Beck Depression Inventory (BDI) of 10 or more after an acute coronary syndrome.
Treatment was stepped every 6 to 8 weeks and followed the patients' preferences: neither decision was
randomized. The frame below is rebuilt from the published size, sum and sum of squares of the eight
cells (first treatment, improved, second step). Together with the cell sizes these are sufficient
statistics of the model, so the analysis is that of the original data; the individual values are
made up and only share each cell's size, mean and variance.

Estimand
--------
The expected fall in BDI if everybody who could be enrolled followed a regime. What was chosen is
what counts, whether or not it was taken (treatment policy).

Model and priors
----------------
Improvement: one probability per first treatment, Beta(1, 1). Fall in BDI: one mean per cell and a
common SD; Normal(0, 100) and HalfCauchy(50) are so wide against an observed SD near 8 that the
answer is the data's. Nothing is shrunk, because the published analysis shrinks nothing and the
comparison with it is the point; the default hierarchical model would pull the small cells in.

Assumptions
-----------
Exchangeability given first treatment and improvement, which is the analyst's claim: no covariate is
published that could make it more plausible. Consistency; independent patients; one SD for all cells.

Known limits
------------
* The headline (therapy, then stay) rests on a cell of TWO patients, who improved on therapy and
  stayed with it: mean 22, variance 242. It is a hypothesis, not a finding.
* Another cell of two: no improvement on medication, then stay is the rule (25) and switch rare (2).
* Preference may select patients for whom a treatment works; the sign of that bias is unknown.
* The cells' SDs range from 0.7 to 16, so the common SD is a convenience.

Reference
---------
Cheung YK, Chakraborty B, Davidson KW (2015). Sequential multiple assignment randomized trial (SMART)
with adaptive randomization for quality improvement in depression treatment program. Biometrics
71:450-459. Trial: Davidson et al. (2013), JAMA Internal Medicine 173:997-1004.
"""

from math import sqrt
from statistics import NormalDist

import pandas as pd

import bayesdtr as dtr

study = dtr.Study(
    dtr.Decision("first", ["medication", "therapy"], assigned="observed"),
    dtr.Response("improved", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision("second", ["stay", "switch"], assigned="observed"),  # "switch" stands for switch or augment
    dtr.Response(
        "bdi_drop",
        dtr.Normal(),
        model=dtr.Saturated(),
        priors={
            "mean": dtr.Prior("Normal", loc=0, scale=100, reason="the scale runs from 0 to 63: no information"),
            "sigma": dtr.Prior("HalfCauchy", scale=50, reason="several times the SD seen: no information"),
        },
    ),
    utility=dtr.Utility("bdi_drop"),
    # Usual care is a prescription that is left as it is.
    reference={"first": "medication", "second": "stay"},
    estimand={
        "non-adherence": "Counted under the treatment that was chosen, taken or not (treatment policy).",
        "change of treatment": "Part of the regime: it is the second decision.",
        "dropout": "Only patients with a final BDI are in the cells; nothing is published here about any others.",
    },
)

# Published facts, in integers so that no digit is lost: the variance is (squares - total^2 / n) / (n - 1).
CELLS = {
    # (first, improved, second): (n, total, sum of squares) of the fall in BDI
    ("medication", 0, "stay"): (25, 33, 1255),
    ("medication", 0, "switch"): (2, 21, 221),
    ("medication", 1, "stay"): (24, 261, 3561),
    ("medication", 1, "switch"): (5, 26, 210),
    ("therapy", 0, "stay"): (5, 39, 339),
    ("therapy", 0, "switch"): (19, 98, 1324),
    ("therapy", 1, "stay"): (2, 44, 1210),
    ("therapy", 1, "switch"): (26, 283, 4457),
}


def rebuilt(n: int, total: int, squares: int) -> list[float]:
    """Return `n` values, evenly spaced normal scores, with exactly the given sum and sum of squares."""
    scores = [NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
    middle = sum(scores) / n
    length = sqrt(sum((z - middle) ** 2 for z in scores))
    spread = sqrt((n * squares - total**2) / n)
    return [total / n + spread * (z - middle) / length for z in scores]


def patients() -> pd.DataFrame:
    """Return the 108 rebuilt patients: columns ``first, improved, second, bdi_drop``."""
    rows = [
        (first, improved, second, value)
        for (first, improved, second), facts in CELLS.items()
        for value in rebuilt(*facts)
    ]
    return pd.DataFrame(rows, columns=["first", "improved", "second", "bdi_drop"])
