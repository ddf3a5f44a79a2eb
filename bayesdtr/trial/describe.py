"""A design in words, in full and in short: what is decided, when it is looked at, how patients are assigned, what ends it."""

from typing import TYPE_CHECKING

from ..errors import listing
from ..study.timeline import Decision
from ..text import fold

if TYPE_CHECKING:
    from .design import TrialDesign
    from .stopping import StoppingRule

LABEL = 13
ENGINES = {
    "exact": "exact posteriors (conjugate cells)",
    "laplace": "Laplace's approximation, {draws} quasi-random draws",
    "nuts": "NUTS",
}


def describe(design: "TrialDesign") -> str:
    """A design as text of at most 100 columns, for `print`.

    Parameters
    ----------
    design : TrialDesign

    Returns
    -------
    str
    """
    lines = [f"Trial of up to {design.size:,} patients"]
    for decision in design.study.decisions:
        lines += _decision(design, decision)
    lines.append(_line("burn-in", _burn_in(design)))
    lines.append(_line("responses", ", ".join(f"{r.name} ({type(r.family).__name__})" for r in design.study.responses)))
    if design.study.cluster is not None:
        lines.append(_line("clusters", design.study.cluster))
    lines.append(_line("utility", str(design.study.utility)))
    lines.append(_line("calendar", design.calendar.text()))
    lines.append(_line("looks", f"{_looks(design)}; a final analysis when all follow-up is complete"))
    analysis = ENGINES[design.analysis.chosen(design.study)].format(draws=design.analysis.draws)
    period = "; the level of responses may drift over enrolment" if design.analysis.period_effects else ""
    audit = f"; {design.analysis.audit:.2g} of looks are fitted again with NUTS" if design.analysis.audit else ""
    lines.append(_line("analysis", f"{analysis}{period}{audit}"))
    lines += [_line("drops" if i == 0 else "", rule.text().removeprefix("drop ")) for i, rule in enumerate(design.dropping)]
    stops = [_stops(rule) for rule in design.stopping]
    lines += [_line("stops for" if i == 0 else "", text) for i, text in enumerate(stops)]
    if not stops:
        lines.append(_line("stops for", "nothing: recruitment goes on to the largest size"))
    if design.minimum and stops:
        lines.append(_line("", f"never before {design.minimum:,} patients are recruited"))
    return "\n".join(lines)


def in_short(design: "TrialDesign") -> list[str]:
    """What a design's numbers depend on most, a line each: size, looks, allocation, rules; the head of tables.

    Parameters
    ----------
    design : TrialDesign

    Returns
    -------
    list of str
    """
    several = len(design.allocation) > 1
    lines = [f"up to {design.size:,} patients, {_looks(design)}"]
    lines += [f"allocation{f' at {name}' if several else ''}: {rule.text()}" for name, rule in design.allocation]
    lines += [f"stops for {_stops(rule)}" for rule in design.stopping]
    return lines + [f"drops {rule.text().removeprefix('drop ')}" for rule in design.dropping]


def _looks(design: "TrialDesign") -> str:
    return design.looks.text().replace("units of time", f"{design.calendar.unit}s")


def _stops(rule: "StoppingRule") -> str:
    return f"{rule.text().removesuffix(', not binding')}{'' if rule.binding else ' (recorded, never acts)'}"


def _line(label: str, text: str) -> str:
    return fold(f"  {label:<{LABEL}}{text}", indent=LABEL)


def _decision(design: "TrialDesign", decision: Decision) -> list[str]:
    """Its options, by the history where they differ, and its allocation."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for condition, options in decision.choices:
        sets.setdefault(tuple(options), []).append(str(condition))
    if len(sets) == 1:
        lines = [_line("decision", f"{decision.name}: {', '.join(next(iter(sets)))}")]
    else:
        lines = [_line("decision", decision.name)]
        lines += [_line("", f"  {', '.join(options)}, where {' or '.join(conditions)}") for options, conditions in sets.items()]
    rule = design.rule(decision.name)
    unseen = rule.unseen(design.study, decision.name)
    lines.append(_line("  allocation", rule.text()))
    return [*lines, _line("", f"ignores {listing(unseen, 20)}: patients are assigned alike whatever values they have")] if unseen else lines


def _burn_in(design: "TrialDesign") -> str:
    if design.burn_in is None:
        return "patients who enter before the first look: equal probabilities, in permuted blocks"
    if not design.burn_in.patients:
        return "none"
    block = "permuted blocks" if design.burn_in.block is None else f"permuted blocks of {design.burn_in.block}"
    return f"the first {design.burn_in.patients:,} patients to enter: equal probabilities, in {block}"
