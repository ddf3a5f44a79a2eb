"""Designs with reference operating characteristics."""

import bayesdtr as dtr
from bayesdtr.trial.assignment import BurnIn
from bayesdtr.trial.looks import Looks


def arms_study(options=("A", "B"), worth=1.0) -> dtr.Study:
    event = dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated())
    return dtr.Study(dtr.Decision("arm", list(options)), event, utility=dtr.Utility({"event": worth}))


def three_arm() -> dtr.TrialDesign:
    """The three-arm trial in which the lowest event rate is best (reference.md 7): one block of 100 is always pending."""
    return dtr.TrialDesign(
        arms_study("ABC", -1.0), size=2000, looks=Looks(known=range(300, 2001, 100)), burn_in=400,
        allocation=dtr.Thompson(floor=0.2, floor_rule="iterative"), calendar=dtr.Calendar(dtr.Steady(100.0), delays=1.005),
        stopping=[dtr.DropWorst(0.0185682), dtr.Superiority(0.9814318), dtr.Equivalence(0.9, margin=0.05)])


def three_arm_truth(a=0.25, b=0.25, c=0.25) -> dtr.Scenario:
    return dtr.Scenario(f"{a:g}, {b:g}, {c:g}", {"event": {"A": a, "B": b, "C": c}})


def two_arm(p1, p2, rule, size, looks, burn_in=0, block=None, stopping=()) -> tuple[dtr.TrialDesign, dtr.Scenario]:
    design = dtr.TrialDesign(arms_study(), size=size, looks=looks, allocation=rule, stopping=list(stopping),
                             burn_in=BurnIn(burn_in, block=block))
    return design, dtr.Scenario(f"{p1:g}, {p2:g}", {"event": {"A": p1, "B": p2}})
