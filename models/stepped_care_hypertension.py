"""Stepped care of hypertension: lifestyle, then drug, then dose

Question
--------
A patient with a systolic pressure of 140 mmHg or more gets advice or a structured lifestyle program;
who is still at 140 or above gets a drug; who is not controlled on it may have its dose doubled.
Which option should each patient get at each step, looking ahead to the steps that follow?

Design
------
A three-decision SMART of 480 patients, randomized 1:1 at every decision that offers a choice. The
threshold of 140 decides who has one: below it no drug is started and no dose changed. The patients
are SIMULATED, with a known truth.

Estimand
--------
The expected benefit, in mmHg: fall in systolic pressure from baseline to the end less the burden of
treatment (side effects, effort) on the same scale, if everybody followed a regime (treatment policy).

Model and priors
----------------
The default hierarchical linear models for both interim pressures and for the benefit: main effects of
the history, indicators of the thresholds that opened or closed a decision, treatment contrasts, and
interactions of treatments with what was known before them. Half-Normal scales of 0.5 SD (contrasts)
and 0.25 SD (interactions): antihypertensive treatments move pressure by a few mmHg, well below its
SD between patients. Interim pressures carry no utility; they are modeled because they open or close
the next decision.

Assumptions
-----------
Randomization makes assignment exchangeable. Pressures are measured before the decision that uses
them. Effects are linear in pressure within a stratum, with Normal residuals. Independent patients.

Known limits
------------
* The best start is not the one with the lowest pressure at the next visit: the program takes
  mildly hypertensive patients just under the threshold, where the protocol gives them no drug.
  A rule chosen step by step misses that, and a rule that looks ahead depends on the models of all
  three steps.
* About one patient in seven reaches the third decision, so what is learned about dose is vague.
* What the rule says about the threshold is an artifact of a protocol that never treats below it; the
  trial holds no information on drugs there.

Reference
---------
Generator, truth and optimal rule: `bayesdtr.simulators.hypertension`; every number there is ours.
"""

import pandas as pd

import bayesdtr as dtr
from bayesdtr.simulators import hypertension

DRUGS = ["ace_inhibitor", "calcium_blocker"]

study = dtr.Study(
    dtr.Baseline("age"),  # years, at the middle of the decade
    dtr.Baseline("diabetes"),  # 1: yes
    dtr.Baseline("sbp"),  # systolic pressure, mmHg, 140 to 180
    dtr.Decision("lifestyle", ["advice", "program"]),
    dtr.Response("sbp1", dtr.Normal()),
    dtr.Decision("drug", {dtr.when(sbp1=dtr.at_least(140)): DRUGS, dtr.when(sbp1=dtr.below(140)): ["no_drug"]}),
    dtr.Response("sbp2", dtr.Normal()),
    dtr.Decision(
        "dose",
        {
            dtr.when(drug=dtr.one_of(*DRUGS), sbp2=dtr.at_least(140)): ["keep", "double"],
            dtr.when(drug=dtr.one_of(*DRUGS), sbp2=dtr.below(140)): ["no_change"],
            dtr.when(drug="no_drug"): ["no_change"],
        },
    ),
    dtr.Response("benefit", dtr.Normal()),
    utility=dtr.Utility("benefit"),
    # Where a patient has no choice the only option is taken, whatever the reference says.
    reference={"lifestyle": "advice", "drug": "ace_inhibitor", "dose": "double"},
    mcid=1.0,
    estimand={
        "stopping the drug": "Counted under the drug assigned; its side effects are part of the burden.",
        "treatment outside the protocol": "None in the simulation; in a real trial, part of the regime's effect.",
    },
)


def patients() -> pd.DataFrame:
    """Return 480 simulated patients: columns named as in `study`."""
    return hypertension.simulate(480, seed=140)
