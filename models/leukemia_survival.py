"""Acute leukemia in two steps: survival when responders are randomized a second time and some decline

Question
--------
Elderly patients start chemotherapy with a growth factor or with placebo; who responds gets a single
drug or a combination to hold the response. Which of the four strategies has the best survival at a
year?

Design
------
A two-stage SMART of 388 patients, randomized 1:1 at entry and, if they respond, 1:1 once more. A
course is a chain of times: from entry to response or death, whichever comes first, and for
responders from response to death. Some responders decline the second randomization; they have no
second treatment and are followed no further. Follow-up ends between 6 and 60 months after entry,
whatever happens. The patients are SIMULATED, with a known truth; the shape is that of CALGB 8923.

Estimand
--------
The probability of living 12 months under a strategy, had all responders accepted the second
randomization.

Model and priors
----------------
Weibull times for both transitions, with main effects of the history, treatment contrasts and
interactions under the default half-Normal scales (0.5 and 0.25 of a unit of the log time; a
difference of 0.7 doubles a median). Response or death at the first transition is a logistic
regression on the arm and the time of transition. Whoever did not respond has no second decision, and
the time to death is the whole of the course.

Assumptions
-----------
Randomization makes assignment exchangeable. Consent is ignorable given the first arm and the time
of response. Follow-up ends for reasons that tell nothing about survival. Independent patients.

Known limits
------------
* Leaving those who declined out of the data, as if they had never been in the trial, lowers the
  share of responders and the survival of every strategy; counting them under the first option of
  the second step biases that option. Here they count for what was seen of them: their first time
  and their response.
* A Weibull law has one shape for every patient. Where hazards cross, "piecewise" times with
  `breaks=` follow the data more closely and are less precise.
* The 128 responders who were randomized again say little about which drug holds a response best: the
  four strategies cannot be told apart, and the report says so.

Reference
---------
Generator, truth and survival in closed form: `bayesdtr.simulators.declined_rerandomization`; every
number there is ours. Design: Lunceford JK, Davidian M, Tsiatis AA (2002). Estimation of survival
distributions of treatment policies in two-stage randomization designs in clinical trials. Biometrics
58:48-57.
"""

import pandas as pd

import bayesdtr as dtr
from bayesdtr.simulators import declined_rerandomization

study = dtr.Study(
    dtr.Decision("first", ["growth factor", "placebo"]),
    dtr.Response("t1", dtr.Survival("weibull", event="event1")),  # months from entry to response or death
    dtr.Response("response", dtr.Bernoulli()),  # which of the two it was; 1: response
    # Who does not respond has no second decision: the course ends with the first transition.
    dtr.Decision("second", {dtr.when(response=1): ["single", "combination"], dtr.when(response=0): []}),
    dtr.Response("t2", dtr.Survival("weibull", event="died")),  # months from response to death
    utility=dtr.SurvivalAt(["t1", "t2"], at=12.0),
    reference={"first": "placebo", "second": "single"},
    mcid=0.02,
    estimand={
        "declining the second randomization": "Survival had all responders accepted; consent is ignorable given the history.",
        "death": "Ends the course; the time lived until then is the outcome.",
        "treatment outside the protocol": "None in the simulation; in a real trial, part of the strategy's effect.",
    },
)


def patients() -> pd.DataFrame:
    """Return 388 simulated patients: columns ``first, t1, event1, response, second, t2, died``."""
    return declined_rerandomization.simulate(388, seed=8923)
