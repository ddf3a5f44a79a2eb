"""Three-arm adaptive trial: drop, stop, and randomize toward the arm with the fewest events

Question
--------
Which of three treatments leads to the fewest events, and can a trial find out while it assigns fewer
patients to those that do worse?

Design
------
Up to 2,000 patients, one a day; the event is known after 100 days. The first 400 patients are
randomized equally; then, whenever another 100 outcomes are known, arms with a probability below 1.86 %
of being best are dropped, the trial stops for superiority (above 98.14 %) or equivalence (all within
5 percentage points with probability above 90 %), and the next 100 patients are randomized in
proportion to each arm's probability of being best, none below 20 %.

Estimand
--------
The probability of an event if everybody were assigned to an arm, whether or not it is then taken
(treatment policy).

Model and priors
----------------
One probability per arm, Beta(1, 1): the posterior is exact, and nothing is borrowed between arms.

Assumptions
-----------
Patients are exchangeable over time: with drift, comparisons between arms whose shares moved are
confounded with time. Outcomes are complete.

Known limits
------------
* The thresholds were tuned by others on 1,000 simulated trials to an error below 5 %; the true
  probability of declaring some arm superior when all are alike is near 6 %, most of it from dropping
  down to one arm: with a milder threshold of `DropWorst`, `calibrate` finds one that holds.
* The floor of 20 % costs power against dropping alone, and buys estimates of every arm.
* The frame of patients is SIMULATED, with equal randomization.

Reference
---------
The design is the worked example of the R package adaptr (Granholm A et al. (2022). Journal of Open
Source Software 7(72):4284); its operating characteristics were recomputed by independent code.
"""

import numpy as np
import pandas as pd

import bayesdtr as dtr

study = dtr.Study(
    dtr.Decision("arm", ["A", "B", "C"]),
    dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()),
    utility=dtr.Utility({"event": -1.0}),
    reference={"arm": "A"},
    mcid=0.05,
    estimand={"non-adherence": "Patients are counted under the arm they were assigned to."},
)

design = dtr.TrialDesign(
    study,
    size=2000,
    looks=dtr.Looks(known=range(300, 2001, 100)),
    allocation=dtr.Thompson(floor=0.2, floor_rule="iterative"),
    stopping=[dtr.DropWorst(0.0185682), dtr.Superiority(0.9814318), dtr.Equivalence(0.9, margin=0.05)],
    calendar=dtr.Calendar(dtr.Steady(1.0), delays={"event": 100.0}, unit="day"),
)

scenarios = [
    dtr.Scenario("no difference", {"event": 0.25}),
    dtr.Scenario("B best", {"event": {"A": 0.25, "B": 0.20, "C": 0.30}}),
]


def patients() -> pd.DataFrame:
    """Return 300 simulated patients under "B best", randomized equally."""
    rng = np.random.default_rng(2022)
    arm = rng.permutation(np.repeat(["A", "B", "C"], 100))
    rate = pd.Series(arm).map({"A": 0.25, "B": 0.20, "C": 0.30}).to_numpy()
    return pd.DataFrame({"arm": arm, "event": (rng.random(300) < rate).astype(int)})
