"""Sections of a report from the results on: results, limitations, what is not provided, how to run it again."""

import numpy as np

from .. import plot
from ..decision import Fair, Subgroups
from ..decision.explaining.extrapolation import RULE, WIDTH
from ..decision.reading.readable import RuleBranch
from ..decision.regime import mcid_of
from ..plot.regime_tree import sparse_options
from ..plot.style import SPARSE
from .blocks import NOT_PROVIDED, Block, Code, Heading, Paragraph, Points, Section, amount, chance, digits_for, interval, table
from .findings import blocks_of, tied
from .material import Material
from .pictures import picture
from .stacked import rerun_lines, sampled
from .words import alarms_of, wrong_of

MOST_REGIMES = 64

MISSING = (
    ("Safety: constraints, where they bind, options removed, default used", "CONSORT-ACE 2020, data monitoring"),
    ("Fairness: value and gain by subgroup", "BARG"),
    ("Sensitivity: power-scaling of priors, unmeasured confounding, tipping points of values missing not at random", "ROBUST, ICH E9(R1)"),
    ("Adaptation of a trial: allocation, looks, drift", "CONSORT-ACE 2020"),
    ("Operating characteristics by simulation", "ICH E20 draft, CONSORT-ACE 2020"),
    ("Guideline checklists, filled in", "ROBUST, BARG, CONSORT-ACE 2020"),
)


def results(m: Material) -> Section:
    """Item 9."""
    serves = "BARG, ROBUST"
    if m.withheld:
        reasons = m.regime.posterior.verdict.reasons
        return Section("results", "Results", serves, (
            Paragraph("Withheld. The checks of the posterior fail, so no regime, value, probability or comparison is reported.", "alarm"),
            Points(reasons)))
    blocks: list[Block] = [*_regime(m), *_value(m), *_embedded(m), *_options(m), *_ties(m), *_overlap(m), *_utility(m), *blocks_of(m.findings),
                           *_safety(m)]
    return Section("results", "Results", serves, tuple(blocks))


def _regime(m: Material) -> list[Block]:
    blocks: list[Block] = [Heading("The recommended regime")]
    for decision in m.study.decisions:
        mine = [b for b in m.branches if b.decision == decision.name]
        rows = [(b.condition or "everyone", b.option + (" (the only option)" if b.forced else ""), _agreement(b)) for b in mine]
        blocks.append(table(("If", decision.name, "Agreement with the exact rule"), rows) if rows else
                      Paragraph(f"{decision.name}: nobody has reached it."))
    if any(b.agreement < 1 for b in m.branches):
        blocks.append(Paragraph("Where continuous variables enter, each line is a branch of a shallow tree of thresholds that approximates the exact "
                                "recommendation; agreement is the share of the cell's patients for whom both say the same.", "note"))
    if m.cells:
        described = "; ".join(f"{c.decision}, {c.label}: {c.option}" for c in m.cells)
        blocks.append(picture(plot.regime_tree(m.regime, cells=m.cells), f"The rule as a tree: {described}",
                              "The recommended regime over the discrete history. P(best): probability that the option has the highest expected "
                              "utility, later decisions following the recommended rule."))
    return blocks


def _agreement(branch: RuleBranch) -> str:
    if branch.forced:
        return "–"
    return "exact" if branch.agreement == 1 else f"{branch.agreement:.0%} of {branch.patients}"


def _value(m: Material) -> list[Block]:
    v = m.regime.value()
    digits = digits_for(v.sd)
    prob = f"{v.ci_prob:.0%} equal-tailed interval"
    reference = "not provided (no reference regime was declared)" if m.study.reference is None else NOT_PROVIDED
    if m.reference is not None and (gain := m.gain(m.comparison.rows.index(m.reference))) is not None:
        reference = f"{amount(gain.mean, digits)} ({prob} {interval(gain.lower, gain.upper, digits)})"
    rows = [
        ("Value under the model", f"{amount(v.mean, digits)} (posterior SD {amount(v.sd, digits)}; {prob} {interval(v.lower, v.upper, digits)})"),
        ("Honest value", _honest(m)),
        ("Value minus that of the reference regime", reference),
    ]
    return [Heading("Its value"), table(("", ""), rows), Paragraph(
        "The value is that of the committed rule: at every decision the option with the highest posterior expectation, later decisions following "
        "the same rule, averaged over the observed patients. It is computed with the model and the patients that chose the rule, so it is optimistic "
        "on average. The honest value corrects that: the average value of rules learned on earlier patients, judged in later ones. Its target is "
        "usually a little lower than the value of the rule learned on all of them.", "note")]


def _honest(m: Material) -> str:
    """The honest value in a cell, with what it rests on."""
    if m.honest is None:
        return NOT_PROVIDED
    h, digits = m.honest, digits_for(m.honest.se)
    warned = "" if h.reliable else f" Unreliable: only {h.followers:.3g} patients effectively followed the rules."
    return (f"{amount(h.mean, digits)} (standard error {amount(h.se, digits)}; {h.ci_prob:.0%} confidence interval "
            f"{interval(h.lower, h.upper, digits)}), {h.basis}; {h.scored} patients judged, {h.followers:.3g} of them effectively followed the "
            f"rules.{warned}")


def _embedded(m: Material) -> list[Block]:
    c = m.comparison
    rows, spread = [], digits_for(*(r.value.sd for r in c.rows))
    order = sorted(range(len(c.rows)), key=lambda i: -c.rows[i].value.mean)
    for i in order[:MOST_REGIMES]:
        r, gain = c.rows[i], m.gain(i)
        rows.append((
            r.rules.label, amount(r.value.mean, spread), interval(r.value.lower, r.value.upper, spread), chance(r.p_best),
            amount(r.upper_limit, spread), "yes" if r.in_best_set else "no", r.patients,
            NOT_PROVIDED if r.contrast is None else f"{amount(r.contrast.mean, spread)} ({interval(r.contrast.lower, r.contrast.upper, spread)})",
            NOT_PROVIDED if gain is None else f"{amount(gain.mean, spread)} ({interval(gain.lower, gain.upper, spread)})",
        ))
    prob = f"{c.rows[0].value.ci_prob:.0%}"
    columns = ("Regime", "Mean", f"{prob} interval", "P(best)", "Upper limit", "In set of best", "Followers",
               f"Minus reference ({prob} interval)", f"Recommended regime minus it ({prob} interval)")
    more = f" The {MOST_REGIMES} with the highest mean of {len(c.rows)} are listed." if len(c.rows) > MOST_REGIMES else ""
    return [
        Heading("Embedded regimes"),
        picture(plot.embedded(c), "Forest of the embedded regimes; the numbers stand in the table below.",
                f"Values of the embedded regimes under the model with {prob} equal-tailed intervals."),
        table(columns, rows, numeric=(1, 2, 3, 4, 6, 7, 8), strong=[0], caption=(
            f"All intervals are {prob} equal-tailed. P(best): probability of the highest value among the embedded regimes "
            f"(Monte Carlo standard error at most {max(r.p_best_error for r in c.rows):.2g}). Set of best: simultaneous "
            f"{1 - c.alpha:.0%}, on the {c.scale} scale; upper limit: simultaneous, one-sided, of the difference to the best on that scale.{more}")),
    ]


def _options(m: Material) -> list[Block]:
    if not m.cells:
        return []
    rows, strong = [], []
    digits = digits_for(*((o.upper - o.lower) / 4 for c in m.cells for o in c.options))
    for c in m.cells:
        sparse = dict(sparse_options(c))
        for o in c.options:
            if o.option == c.option:
                strong.append(len(rows))
            first = o is c.options[0]
            ties = ", ".join(t for t, yes in (("near-tie", c.near_tie), ("Monte Carlo tie", c.mc_tie)) if yes) or "no"
            rows.append((c.decision, c.label, o.option, amount(o.expected_utility, digits), interval(o.lower, o.upper, digits), chance(o.p_best),
                         f"{o.share:.0%}", str(o.patients) + (f" (fewer than {SPARSE})" if o.option in sparse or o.patients < SPARSE else ""),
                         f"{c.regret:.3g}" if first else "", ties if first else ""))
    columns = ("Decision", "Cell", "Option", "Expected utility", "95% interval", "P(best)", "Recommended to", "Patients", "Expected regret", "Tie")
    mcid = mcid_of(m.regime.posterior)
    return [
        Heading("Every option in every cell"),
        picture(plot.options(m.regime, cells=m.cells), "Expected utility of every option by decision and cell; the numbers stand in the table below.",
                "Expected utility of each option with 95% equal-tailed intervals; later decisions follow the recommended rule."),
        table(columns, rows, numeric=(3, 4, 5, 6, 7, 8), strong=strong, caption=(
            "Bold: recommended to most. Intervals are 95% equal-tailed and bound the expected utility, not a patient's outcome. Where patients of a "
            "cell differ in other covariates, numbers (ends of intervals included) are averages over them. Expected regret: expected loss of utility "
            f"against knowing the parameters. Near-tie: for some patient of the cell another option lies within {mcid:.3g}, the smallest difference "
            "that matters. Monte Carlo tie: simulation error could have decided.")),
    ]


def _ties(m: Material) -> list[Block]:
    return [] if m.ties is None else tied(m.ties)


def _overlap(m: Material) -> list[Block]:
    found = m.extrapolation
    if found is None or not found.rows:
        return []
    rows = []
    for r in found.rows:
        weight = "nobody received it" if np.isinf(r.largest_weight) else f"{r.largest_weight:.3g}"
        width = NOT_PROVIDED if r.width is None else " / ".join(f"{w:.2f}" for w in r.width)
        rows.append((r.decision, r.patients, f"{r.extrapolating:.0%}", r.fewest, weight, width))
    columns = ("Decision", "Patients", "Extrapolating", "Fewest behind one", "Largest weight", "Width (10% / 50% / 90%)")
    few = [f"at {r.decision}, for {r.extrapolating:.0%} of {r.patients}" for r in found.rows if r.extrapolating]
    said = ("The recommendation leans on fewer than five patients who were like the patient and received what is recommended: "
            f"{'; '.join(few)}. There the model speaks, more than patients do." if few else
            "Every recommendation is backed by five or more patients who were like the patient and received what is recommended.")
    known = f" Width: {WIDTH}" if any(r.width for r in found.rows) else ""
    lacking = f" Width {NOT_PROVIDED}: {found.no_width}" if found.no_width else ""
    return [
        Heading("How far recommendations extrapolate"), Paragraph(said),
        table(columns, rows, numeric=(1, 2, 3, 4, 5), strong=[i for i, r in enumerate(found.rows) if r.extrapolating],
              caption=RULE + known + lacking),
    ]


def _utility(m: Material) -> list[Block]:
    return [Heading("Utility"), Paragraph(f"Utility used: {m.study.utility}. How the rule moves with the utility: {NOT_PROVIDED}.")]


def _safety(m: Material) -> list[Block]:
    """Item 10: gates, where they bound, options removed, default used."""
    if m.regime.safety is None:
        return []
    rows = []
    for c in m.regime.shield().counts:
        shielded = f"{c.default}, for {c.shielded} of {c.patients}" if c.shielded else "not needed"
        for i, (option, n) in enumerate(c.removed):
            rows.append((c.decision if i == 0 else "", option, f"{n} of {c.patients}", shielded if i == 0 else ""))
    return [
        Heading("Safety"),
        Paragraph("Before the best option was chosen, options were removed by rules fixed in advance, at every decision that a patient may come to:"),
        Points(tuple(f"at {g.decision(m.study).name}, {g}" for g in m.regime.safety.gates)),
        table(("Decision", "Option", "Removed for", "Default in place of all options"), rows, numeric=(2,), caption=(
            "Patients of this study who reached the decision with a choice. The embedded regimes above are valued as written, whatever the rules "
            "remove.")),
    ]


def limitations(m: Material) -> Section:
    """Item 15."""
    return Section("limitations", "Limitations", "ROBUST, CONSORT-ACE 2020", (Points(tuple([*alarms_of(m), *wrong_of(m)])),))


def missing(m: Material) -> Section:
    """Items 10 to 14 and 17."""
    there = {"Safety": m.regime.safety is not None, "Fairness": any(isinstance(f, Subgroups | Fair) for f in m.findings)}
    rows = [(what, serves, "under Results" if there.get(what.split(":")[0]) and not m.withheld else NOT_PROVIDED) for what, serves in MISSING]
    return Section("missing", "What this report does not provide", "", (
        table(("Item", "Asked for by", "In this report"), rows),
        Paragraph("The layout of this report is aligned with ROBUST, BARG, CONSORT-ACE 2020, ICH E9(R1) and the ICH E20 draft. That is a statement "
                  "about its layout; it makes no claim to meet any of them.", "note")))


def _guarded(m: Material) -> str:
    """Arguments of safety gates, as Python."""
    guard = m.regime.safety
    if guard is None:
        return ""
    return f", safety=[{', '.join(f'dtr.{g!r}' for g in guard.gates)}]" + (f", default={dict(guard.defaults)!r}" if guard.defaults else "")


def rerun(m: Material, command: str | None) -> Section:
    """Item 16."""
    posterior = m.regime.posterior
    lines = ["import bayesdtr as dtr", "", "# study and patients: the declaration and the data whose hashes stand under Identification",
             *rerun_lines(posterior), f"regime = dtr.optimize(posterior{_guarded(m)})",
             "comparison = dtr.compare(posterior)"]
    lines += [f"honest = dtr.honest_value(study, patients, {m.honest.call}{_guarded(m)})"] if m.honest is not None else []
    blocks: list[Block] = [Paragraph("Command:"), Code(command)] if command else []
    warmup = " and the warm-up that was used, which a posterior does not record" if sampled(posterior) else ""
    blocks += [Paragraph(f"In Python, with the package versions named under Identification{warmup}:"), Code("\n".join(lines))]
    return Section("rerun", "How to run it again", "BARG", tuple(blocks))
