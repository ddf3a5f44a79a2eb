"""ADHD SMART: medication or behavioral treatment, then intensify or augment

Question
--------
Which treatment should a school child with ADHD start on, and what should follow when it does not
help enough: more of the same, or the other treatment on top? For which children?

Design
------
A sequential multiple assignment randomized trial of 150 children. Everybody is randomized 1:1 to
medication or behavioral treatment. Children who respond continue; the others are randomized 1:1
to intensify or augment. The patients are SIMULATED, with a known truth.

Estimand
--------
The expected school performance (higher is better) at the end of the school year if every child of
the population followed a regime, whether or not the treatment offered was taken (treatment policy).

Model and priors
----------------
The default hierarchical models: logistic for response and adherence, linear for performance, each
with main effects of the whole history, treatment contrasts that sum to zero within a feasible set,
and interactions of treatments with what was known before them. Contrasts share one scale with a
half-Normal prior of 0.5 SD, interactions one of 0.25 SD: most effects in child mental health are
below half an SD, and with 100 children at the second decision an unshrunken analysis would find
tailoring in noise. `adherence` is modeled as an outcome because later decisions are tailored to it.

Assumptions
-----------
Randomization makes assignment exchangeable at both decisions. Adherence is seen before the second
decision. Effects are linear in severity. Children are independent (one per family).

Known limits
------------
* 150 children separate the best embedded regime from the next with moderate certainty only.
* Prior shrinkage pulls the strong interaction of adherence with the second decision in; expect
  its posterior mean below the truth.
* In the truth, baseline covariates modify the first treatment's effect on performance through response
  and adherence only; the model must learn from the data that the direct interactions are absent.
* Race stands for unmeasured social differences; it is kept for adjustment and should not be used to
  deny a treatment.

Reference
---------
Structure: Pelham WE et al. (2016). Treatment sequencing for childhood ADHD: a multiple-randomization
study of adaptive medication and behavioral interventions. Journal of Clinical Child and Adolescent
Psychology 45:396-415. Truth: `bayesdtr.simulators.adhd.truth()`.
"""

import pandas as pd

import bayesdtr as dtr
from bayesdtr.simulators import adhd

study = dtr.Study(
    dtr.Baseline("odd"),  # 1: oppositional defiant disorder
    dtr.Baseline("severity"),  # clinician's rating, mean 4, SD 1
    dtr.Baseline("priormed"),  # 1: medicated in the year before
    dtr.Baseline("race"),  # 1: white
    dtr.Decision("first", ["medication", "behavioral"]),
    dtr.Response("responded", dtr.Bernoulli()),
    dtr.Response("adherence", dtr.Bernoulli()),
    dtr.Decision(
        "second",
        {dtr.when(responded=0): ["augment", "intensify"], dtr.when(responded=1): ["continue"]},
        # The trial compares what to do after non-response; adherence tailors the optimal rule only.
        tailoring=["responded"],
    ),
    dtr.Response("performance", dtr.Normal()),
    utility=dtr.Utility("performance"),
    reference={"first": "medication", "second": {dtr.when(responded=0): "intensify", dtr.when(responded=1): "continue"}},
    mcid=0.2,
    estimand={
        "non-adherence": "Children are counted under the treatment offered; adherence is a covariate of the second decision.",
        "leaving the school": "None in the simulation; in a real trial, performance at the last school attended.",
    },
)


def patients() -> pd.DataFrame:
    """Return 150 simulated children: columns named as in `study`."""
    return adhd.simulate(150, seed=2016)
