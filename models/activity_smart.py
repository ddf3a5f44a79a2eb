"""Physical activity SMART with Thompson sampling: coaching or classes, then a gym or an interview

Question
--------
Which start, digital coaching or group classes, and for those who are still inactive which next step, a
gym membership or motivational interviewing, gets most adults to be active? For whom?

Design
------
200 inactive adults, two or three a week. Everybody is randomized to digital coaching or classes; who is not
active at 8 weeks is randomized to a gym membership or motivational interviewing, the others go on. The
outcome, active at 24 weeks, is known 16 weeks after the second decision. The first 40 adults enter in
permuted blocks; at ten looks, after every 20 patients, both randomizations move toward the option with
the higher probability of being best for a person of this age and this activity, with power n/2N and no
option below 10 %.

Estimand
--------
The probability of being active at 24 weeks if everybody followed a regime, whether or not what is offered
is taken up (treatment policy).

Model and priors
----------------
The default hierarchical logistic models: main effects of age, steps and the history, treatment contrasts
that sum to zero, interactions of treatments with all that precedes them, each kind with a scale of its
own. Looks are analyzed by Laplace's approximation, the final analysis of a real trial by NUTS.

Assumptions
-----------
Randomization at both decisions. Effects are linear on the logit scale. No change over calendar time
(`Analysis(period_effects=True)` and a scenario with drift show what it would do).

Known limits
------------
* Outcomes take 24 weeks and recruitment some 80: who enters in the last 24 weeks steers nobody by the final outcome.
* 200 adults find an interaction only if it is large.
* The truths and the frame are SIMULATED; sizes are guesses of ours, not estimates.

Reference
---------
Structure of such trials: Gonze BB et al. (2020). JMIR Research Protocols 9(10):e14322. Power n/2N:
Thall PF, Wathen JK (2007). European Journal of Cancer 43:859-866.
"""

import numpy as np
import pandas as pd

import bayesdtr as dtr

study = dtr.Study(
    dtr.Baseline("age"),  # years
    dtr.Baseline("steps"),  # thousands a day
    dtr.Decision("start", ["coaching", "classes"]),
    dtr.Response("active8", dtr.Bernoulli()),
    dtr.Decision("next", {dtr.when(active8=0): ["gym", "interviewing"], dtr.when(active8=1): ["continue"]}),
    dtr.Response("active24", dtr.Bernoulli()),
    utility="active24",
    reference={"start": "classes", "next": {dtr.when(active8=0): "gym", dtr.when(active8=1): "continue"}},
    mcid=0.05,
    scales={"age": (50.0, 10.0), "steps": (5.0, 1.5)},
    estimand={"offer not taken up": "People are counted under what they were offered."},
)

design = dtr.TrialDesign(
    study,
    size=200,
    looks=range(20, 201, 20),
    burn_in=40,
    allocation=dtr.Thompson(power="n/2N", floor=0.1),
    calendar=dtr.Calendar(dtr.PoissonAccrual(2.5), delays={"active8": 8.0, "active24": 16.0}, unit="week"),
)

COVARIATES = {"age": dtr.Gaussian(50.0, 10.0), "steps": dtr.Gaussian(5.0, 1.5)}


def active8(history):
    """Probability of being active at 8 weeks: classes help the older, coaching the younger."""
    older = (history["age"] - 50.0) / 10.0
    classes = history["start"] == "classes"
    return 1 / (1 + np.exp(-(-0.6 + 0.3 * (history["steps"] - 5.0) / 1.5 + np.where(classes, 0.5, 0.2) + np.where(classes, 0.4, -0.4) * older)))


def active24(history):
    """Probability of being active at 24 weeks: those who were at 8 mostly are; interviewing rescues more than a gym."""
    rescued = np.where(history["next"] == "interviewing", 0.2, -0.6)
    return 1 / (1 + np.exp(-(-0.4 + 0.2 * (history["steps"] - 5.0) / 1.5 + np.where(history["active8"] == 1, 1.4, rescued))))


scenarios = [
    dtr.Scenario("no difference", {"active8": 0.4, "active24": {dtr.when(active8=1): 0.7, dtr.when(active8=0): 0.35}}, baseline=COVARIATES),
    dtr.Scenario("tailoring helps", {"active8": active8, "active24": active24}, baseline=COVARIATES),
]


def patients() -> pd.DataFrame:
    """Return 200 simulated adults under "tailoring helps", randomized equally."""
    rng = np.random.default_rng(24)
    frame = {"age": rng.normal(50, 10, 200), "steps": rng.normal(5, 1.5, 200), "start": rng.permutation(np.repeat(["coaching", "classes"], 100))}
    frame["active8"] = (rng.random(200) < active8(frame)).astype(int)
    frame["next"] = np.where(frame["active8"] == 1, "continue", rng.choice(["gym", "interviewing"], 200))
    frame["active24"] = (rng.random(200) < active24(frame)).astype(int)
    return pd.DataFrame(frame)
