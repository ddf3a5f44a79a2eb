"""What other verbs found about the same regime, as parts of a report: ties, the worth of knowing more, subgroups, readable rules."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import plot
from ..decision import Acceptability, Fair, InformationValue, PolicyTree, Regime, RiskProfile, SampleInformation, Subgroups, Ties
from ..decision.information.information import POLICIES
from ..errors import DecisionError, listing
from .blocks import NOT_PROVIDED, Block, Code, Heading, Paragraph, amount, chance, digits_for, interval, table
from .pictures import picture

Finding = InformationValue | Subgroups | Fair | PolicyTree | RiskProfile | Acceptability | SampleInformation
KINDS = (InformationValue, Subgroups, Fair, PolicyTree, RiskProfile, Acceptability, SampleInformation)
"""What a report can show beside its own numbers, in the order in which it does."""
ALIKE = 0.25
"""SDs by which draws of one value may differ: a grid stands where the regime's own value has a closed form. Draws of another posterior lie apart."""
APART = 0.5
"""SDs of a regime's value by which subgroups may miss it in all: rollouts of each have errors of their own."""


def checked(findings: Sequence[Any], regime: Regime) -> tuple[Finding, ...]:
    """The findings in the order in which a report shows them.

    Raises
    ------
    DecisionError
        For something else than a list of what the verbs return, or for what is seen to be of another posterior or regime.
    """
    if isinstance(findings, KINDS) or not isinstance(findings, Sequence) or isinstance(findings, str):
        raise DecisionError(f"findings takes a list of what other verbs returned, got {type(findings).__name__}; write findings=[...].")
    names = [kind.__name__ for kind in KINDS]
    for found in findings:
        if not isinstance(found, KINDS):
            raise DecisionError(f"findings: a report shows {listing(names)}, got {type(found).__name__}.")
        if said := _foreign(found, regime):
            raise DecisionError(f"findings: {said}")
    return tuple(sorted(findings, key=lambda f: [isinstance(f, kind) for kind in KINDS].index(True)))


def _foreign(found: Finding, regime: Regime) -> str:
    """Why a finding cannot be about a regime, as far as it tells; nothing where it can."""
    posterior, value = regime.posterior, regime.value()
    if isinstance(found, InformationValue):
        if regime.safety is not None:
            return ("the value of information heeds no safety gates, so that its last line is not the value of this regime, which has some; "
                    "leave it out.")
        committed = found.draws[..., -1]
        same = committed.shape != regime.value_draws.shape or np.abs(committed - regime.value_draws).max() <= ALIKE * value.sd
        if found.decisions != tuple(d.name for d in posterior.study.decisions) or not (found.method == POLICIES or same):
            return ("the value of information is over another rule than this regime's (another posterior or utility, or a regime without its safety "
                    "gates); work it out anew for this posterior, or leave it out.")
    elif isinstance(found, PolicyTree):
        if found.regime.posterior.tree is not posterior.tree or found.regime.posterior.study != posterior.study:
            return "the policy tree is of another posterior or utility; fit it anew to this regime."
    elif isinstance(found, Subgroups):
        sizes = np.array([g.patients for g in found.rows])
        total = float(sizes @ [g.value.mean for g in found.rows]) / max(int(sizes.sum()), 1)
        if sizes.sum() != posterior.trajectories.n or abs(total - value.mean) > APART * value.sd + 4 * value.mcse:
            return (f"the subgroups by {found.by} are of other patients or of another regime: their {sizes.sum()} patients have a mean value of "
                    f"{total:.4g}, this regime's {posterior.trajectories.n} one of {value.mean:.4g}; work them out anew by by_group(regime, ...).")
    elif isinstance(found, Fair):
        if sum(found.patients) != posterior.trajectories.n or any(
                isinstance(r, Regime) and r.posterior.tree is not posterior.tree for r in found.regimes.values()):
            return "the fair regime is of another posterior; work it out anew for this one."
    elif isinstance(found, RiskProfile) and found.utility != str(posterior.study.linear.utility):
        return f"the risk profile is of the utility {found.utility}, this regime's is {posterior.study.linear.utility}; work it out anew."
    return ""


def blocks_of(findings: Sequence[Finding]) -> list[Block]:
    """The parts of a report that show findings."""
    made: list[Block] = []
    for found in findings:
        if isinstance(found, InformationValue):
            made += _information(found)
        elif isinstance(found, Subgroups):
            made += _subgroups(found)
        elif isinstance(found, PolicyTree):
            made += _readable(found)
        else:
            made += _printed(found)
    return made


def tied(found: Ties) -> list[Block]:
    """How often options tie."""
    rows = [(r.decision, r.patients, f"{r.near:.0%}", f"{r.monte_carlo:.0%}", f"{r.near_best:.2f}", f"{r.in_set:.2f}") for r in found.rows]
    if not rows:
        return []
    columns = ("Decision", "Patients", "Near-tie", "Monte Carlo tie", "Options near the best", "Options in the set")
    return [Heading("How often options tie"), table(columns, rows, numeric=(1, 2, 3, 4, 5), caption=(
        f"Of the patients of this study with a choice. Near-tie: another option lies within {found.epsilon:.3g} of the best. Monte Carlo tie: "
        f"simulation error could have decided. Set: the fewest options that hold the best one with probability {1 - found.alpha:.0%}. The last two "
        "columns are averages."))]


def _information(found: InformationValue) -> list[Block]:
    when = [*(f"before {d}" for d in found.decisions), "never (the recommended rule)"]
    digits = digits_for(max(*found.gain_errors, found.evpi_error))
    gains = [*(amount(g, digits) for g in found.gains), "–"]
    errors = [*(amount(e, digits) for e in found.gain_errors), "–"]
    rows = list(zip(when, (amount(v, digits) for v in found.values), gains, errors, strict=True))
    bound = "at least " if found.method == POLICIES else ""
    return [
        Heading("What it would be worth to know more"),
        Paragraph(f"If the truth about the treatments were known before the first decision, a patient would gain {bound}"
                  f"{amount(found.evpi, digits)} of utility on average over the recommended rule (Monte Carlo error {found.evpi_error:.2g}). "
                  "No further study can add more than that."),
        table(("Parameters known", "Expected utility", "Gain over knowing later", "Monte Carlo error"), rows, numeric=(1, 2, 3), caption=(
            "Expected value of perfect information, stage by stage. Only the last line is the value of a rule that can be followed.")),
    ]


def _subgroups(found: Subgroups) -> list[Block]:
    gained = found.rows[0].gain is not None
    digits = digits_for(*(g.value.sd for g in found.rows))
    rows = []
    for g in found.rows:
        row = [g.label, g.patients, amount(g.value.mean, digits), interval(g.value.lower, g.value.upper, digits)]
        if g.gain is not None and g.p_loss is not None:
            row += [amount(g.gain.mean, digits), interval(g.gain.lower, g.gain.upper, digits), chance(g.p_loss)]
        rows.append(tuple(row))
    columns = [found.by, "Patients", "Value", "95% interval", *(("Gain", "95% interval", "P(loss)") if gained else ())]
    said = (f"Gain: over the reference regime. P(loss): probability of doing worse than under it by more than {found.margin:.3g}." if gained else
            f"Gains {NOT_PROVIDED}: the study names no reference regime.")
    return [Heading(f"Value by {found.by}"), table(columns, rows, numeric=tuple(range(1, len(columns))), caption=(
        f"Under the model; equal-tailed intervals. Largest minus smallest value: {amount(found.gap.mean, digits)} "
        f"({interval(found.gap.lower, found.gap.upper, digits)}). {said}"))]


def _readable(found: PolicyTree) -> list[Block]:
    price = found.price()
    digits = digits_for(price.sd, abs(price.mean) or 1.0)
    return [
        Heading("Simpler rules"),
        Paragraph(f"The best of the {found.asked}, fitted from the last decision backwards. Price of their simplicity, the recommended rule's value "
                  f"minus theirs: {amount(price.mean, digits)} ({price.ci_prob:.0%} interval {interval(price.lower, price.upper, digits)}, Monte "
                  f"Carlo error {price.mcse:.2g})."),
        Code("\n".join(found.lines())),
    ]


def _printed(found: Any) -> list[Block]:
    """A finding as it prints itself, with its picture where it has one."""
    title = {Fair: "The best regime under which no subgroup loses", RiskProfile: "Risk of single patients and of being wrong",
             Acceptability: "Net monetary benefit", SampleInformation: "What a further trial would be worth"}[type(found)]
    drawn: list[Block] = []
    if isinstance(found, Acceptability):
        drawn = [picture(plot.acceptability(found), "Probability of the highest net monetary benefit by willingness to pay; the numbers stand below.",
                         "Acceptability curves.")]
    elif isinstance(found, SampleInformation):
        drawn = [picture(plot.evsi(found), "Expected value of sample information by size of a further trial; the numbers stand below.",
                         "Value of a further trial.")]
    return [Heading(title), *drawn, Code(str(found))]
