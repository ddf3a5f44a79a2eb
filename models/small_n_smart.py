"""Small-n SMART: three drugs for a rare skin disease, a second one for those whom the first does not help

Question
--------
Which of azathioprine, colchicine and dapsone should a patient with skin-limited vasculitis start on,
and which of the other two should follow where the first does not work?

Design
------
90 patients, three a month. Everybody is randomized to one of three drugs; those without a response at
6 months are randomized to one of the other two, and the others continue. The first 30 patients enter in
permuted blocks; then, after every 15 patients, both assignments follow the probability that an option
is the best for the patient's history, none below 15 %. There is no early stopping: with 90 patients
every one counts.

Estimand
--------
The probability of a response at 12 months if everybody followed a regime, whatever is in fact taken
(treatment policy).

Model and priors
----------------
One probability per first drug for the response at 6 months, and one per sequence at 12 months, all
Beta(1, 1): the posterior is exact. With about ten patients a sequence nothing is known well, and the
posterior says so.

Assumptions
-----------
A drug's later effect may depend on what was tried before. Patients are exchangeable over time.

Known limits
------------
* Nine sequences share 90 patients: the probability of choosing the best regime is far from certain,
  whatever the allocation; look at it beside the regret.
* Adaptive allocation of so few patients gains little for them, as the table shows.
* The trial behind this design pools both stages and randomizes equally; frame and truths here are
  SIMULATED.

Reference
---------
Structure: Micheletti RG et al. (2020). Protocol for a randomized multicenter study for isolated skin
vasculitis (ARAMIS) comparing the efficacy of three drugs. Trials 21:362.
"""

import numpy as np
import pandas as pd

import bayesdtr as dtr

DRUGS = ["azathioprine", "colchicine", "dapsone"]

study = dtr.Study(
    dtr.Decision("first", DRUGS),
    dtr.Response("responded", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision(
        "second",
        {
            dtr.when(responded=1): ["continue"],
            **{dtr.when(responded=0, first=drug): [d for d in DRUGS if d != drug] for drug in DRUGS},
        },
    ),
    dtr.Response("well", dtr.Bernoulli(), model=dtr.Saturated()),
    utility="well",
    reference={"first": "azathioprine", "second": {
        dtr.when(responded=1): "continue", dtr.when(responded=0, first="azathioprine"): "colchicine",
        dtr.when(responded=0, first="colchicine"): "azathioprine", dtr.when(responded=0, first="dapsone"): "azathioprine"}},
    mcid=0.1,
    estimand={"drug stopped for toxicity": "Patients are counted under the sequence they were assigned to."},
)

design = dtr.TrialDesign(
    study,
    size=90,
    looks=range(30, 90, 15),
    allocation=dtr.Thompson(power=0.5, floor=0.15),
    calendar=dtr.Calendar(dtr.PoissonAccrual(3.0), delays={"responded": 6.0, "well": 6.0}, unit="month"),
)

RESPONDS = {"azathioprine": 0.30, "colchicine": 0.35, "dapsone": 0.50}
STAYS = 0.75  # well at 12 months, of those who responded at 6
RESCUED = {"azathioprine": 0.25, "colchicine": 0.30, "dapsone": 0.45}

scenarios = [
    dtr.Scenario("no difference", {"responded": 0.4, "well": {dtr.when(responded=1): STAYS, dtr.when(responded=0): 0.3}}),
    dtr.Scenario("dapsone better", {
        "responded": RESPONDS,
        "well": {dtr.when(responded=1): STAYS, **{dtr.when(responded=0, second=drug): p for drug, p in RESCUED.items()}}}),
]


def patients() -> pd.DataFrame:
    """Return 90 simulated patients under "dapsone better", randomized equally."""
    rng = np.random.default_rng(2020)
    first = rng.permutation(np.repeat(DRUGS, 30))
    responded = (rng.random(90) < np.array([RESPONDS[d] for d in first])).astype(int)
    second = np.where(responded == 1, "continue", [rng.choice([d for d in DRUGS if d != f]) for f in first])
    well = rng.random(90) < np.array([STAYS if s == "continue" else RESCUED[s] for s in second])
    return pd.DataFrame({"first": first, "responded": responded, "second": second, "well": well.astype(int)})
