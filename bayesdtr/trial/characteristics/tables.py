"""Operating characteristics as text: one block per scenario, for those who design a trial and those who watch over it."""

import math
from typing import TYPE_CHECKING

from ...errors import TrialError, did_you_mean, listing
from ...text import fold
from ..describe import in_short
from .estimates import PROBABILITY, Estimate

if TYPE_CHECKING:
    from .operating import Characteristic, OperatingCharacteristics

LABEL, COLUMN = 41, 19
SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("What is concluded", (
        ("type_1_error", "declares superiority (type I error)"),
        ("power", "rightly declares superiority (power)"),
        ("wrong_declaration", "wrongly declares superiority"),
        ("selects_best", "selects a best regime at the end"),
        ("selects_near", "selects one within mcid of the best"),
        ("reversed", "declares one, later selects another"),
        ("ran_to_the_end", "runs to its last look"),
        ("stopped_by", "stops: {}"),
    )),
    ("Patients of the trial", (
        ("size", "patients, mean"),
        ("size_sd", "patients, SD"),
        ("size_quantile", "patients, 5% / 50% / 95% points"),
        ("duration", "duration in {unit}s, mean"),
        ("allocated", "patients on {}"),
        ("share", "share of patients on {}"),
        ("drops", "{} dropped"),
        ("on_best", "share on a best course"),
        ("wrong_imbalance", "worse arm ahead by {imbalance} of patients"),
        ("total", "{}: total"),
        ("rate", "{}: mean"),
        ("utility", "utility per patient"),
    )),
    ("Patients afterwards, treated by the selected regime", (
        ("future_utility", "true value of the selected regime"),
        ("future_regret", "its loss against the best regime"),
    )),
    ("What the final analysis says of the selected regime", (
        ("model_value", "posterior mean of its value (model)"),
        ("bias", "bias: posterior mean minus true value"),
        ("rmse", "root mean square error"),
        ("coverage", "coverage of its 95% interval"),
    )),
    ("Stopped at a look or before", (("stopped_by_look", "look {}, at {point}"),)),
)
"""What is printed, in this order; the frame has more."""
MOST_ROWS = 12
"""Arms, rules or looks of one quantity that are printed at most."""


def table(oc: "OperatingCharacteristics", scenario: str | None = None) -> str:
    """One block per scenario.

    Raises
    ------
    TrialError
        For an unknown scenario.
    """
    if scenario is not None and scenario not in oc.runs:
        raise TrialError(f"No scenario {scenario!r}; there are {listing(oc.runs)}{did_you_mean(scenario, oc.runs)}")
    names = list(oc.runs) if scenario is None else [scenario]
    text = [fold("\n".join(in_short(oc.design)))]
    text += [_block(oc, name) for name in names]
    text.append(fold("\n".join(_notes(oc, names))))
    return "\n\n".join(text)


def _block(oc: "OperatingCharacteristics", scenario: str) -> str:
    mine = [c for c in oc.characteristics if c.scenario == scenario]
    compared = scenario in oc.equal_runs
    lines = _head(oc, scenario)
    heads = ("this design", "equal allocation", "difference") if compared else ("this design",)
    lines.append(" " * LABEL + "".join(f"{h:>{COLUMN}}" for h in heads))
    silent = _silent(oc, scenario)
    for title, parts in SECTIONS:
        body = []
        for name, words in parts:
            rows = [c for c in mine if c.quantity == name and math.isfinite(c.adaptive.value) and name not in silent]
            if name.endswith("_quantile"):
                body += [_points(rows, words, compared)] * bool(rows)
                continue
            body += [_row(c, words, oc, compared) for c in rows[:MOST_ROWS]]
            if len(rows) > MOST_ROWS:
                body.append(f"  ... and {len(rows) - MOST_ROWS} more in the frame")
        if body:
            lines += [title, *body]
    return "\n".join(lines)


def _silent(oc: "OperatingCharacteristics", scenario: str) -> set[str]:
    """What would say nothing: regret where all regimes are equal, time where it counts patients, declarations without a rule that declares."""
    size, duration = oc.get(scenario, "size").adaptive, oc.get(scenario, "duration").adaptive
    same = {"duration"} if (size.value, size.error) == (duration.value, duration.error) else set()
    rules = oc.design.stopping
    never = set() if any(r.declares for r in rules) else {"type_1_error", "power", "wrong_declaration", "reversed"}
    fixed = set() if rules else {"ran_to_the_end", "size_sd", "size_quantile"}
    return same | never | fixed | ({"future_regret"} if oc.question(scenario).null else set())


def _head(oc: "OperatingCharacteristics", scenario: str) -> list[str]:
    ask, truth = oc.question(scenario), oc.truths[scenario]
    labels = oc.design.layout.regime_labels
    title = f"SCENARIO {scenario} ({oc.replicates(scenario):,} replicates)"
    order = sorted(range(len(labels)), key=lambda i: (-float(truth.values[i]), i))[:MOST_ROWS]
    if ask.null:
        return [title, fold(f"True value of every regime: {truth.values[0]:.4g}; none is better than another")]
    told = "; ".join(f"{labels[i]}: {truth.values[i]:.4g}{' (best)' if truth.best[i] else ''}" for i in order)
    rest = f"; and {len(labels) - len(order)} more" if len(labels) > len(order) else ""
    return [title, fold(f"True values: {told}{rest}")]


def _row(c: "Characteristic", words: str, oc: "OperatingCharacteristics", compared: bool) -> str:
    if "{point}" in words:
        looks = oc.design.looks
        words = words.replace("{point}", f"{looks.points[int(c.of) - 1]:g} {'time units' if looks.by == 'at' else looks.by}")
    text = words.replace("{unit}", getattr(oc.design.calendar, "unit", "time unit")).replace("{imbalance}", f"{oc.imbalance:.0%}").replace("{}", c.of)
    label = f"  {text}"
    cells = [shown(c.adaptive, c.kind)]
    if compared:
        cells += [shown(c.equal, c.kind), shown(c.difference, "difference")]
    row = "".join(f"{cell:>{COLUMN}}" for cell in cells)
    if len(label) < LABEL:
        return f"{label:<{LABEL}}{row}"
    # A long name stands on a line of its own, above its numbers.
    return f"{fold(label)}\n{'':<{LABEL}}{row}"


def _points(rows: "list[Characteristic]", words: str, compared: bool) -> str:
    """Three quantiles in one cell."""
    some = [c for c in rows if c.of in ("5%", "50%", "95%")]
    cells = [" / ".join(f"{e.value:.4g}" for e in found) for found in ([c.adaptive for c in some], [c.equal for c in some])]
    return f"  {words:<{LABEL - 2}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells[: 1 + compared])


def shown(e: Estimate, kind: str) -> str:
    """A number with its error in brackets; where a probability was never or always observed, its 95 % bound."""
    if not math.isfinite(e.value):
        return ""
    if kind == PROBABILITY and e.value in (0.0, 1.0):
        return f"0 (<{_up(e.upper)})" if e.value == 0 else f"1 (>{1 - float(_up(1 - e.lower)):.4g})"
    if not e.error > 1e-12 * abs(e.value):
        return f"{e.value + 0.0:.4g}"
    digits = int(min(max(1 - math.floor(math.log10(e.error)), 0), 5))
    sign = "+" if kind == "difference" else ""
    return f"{round(e.value, digits) + 0.0:{sign}.{digits}f} ({e.error:.{digits}f})"


def _up(x: float) -> str:
    """One significant figure, rounded up: a bound stays one."""
    digits = max(-math.floor(math.log10(x)), 0) if x > 0 else 0
    return f"{math.ceil(x * 10**digits - 1e-9) / 10**digits:.{digits}f}"


def _notes(oc: "OperatingCharacteristics", names: list[str]) -> list[str]:
    notes = ["In brackets: Monte Carlo standard error, none where no replicate differs; (<...), (>...): 95% bound where none or all of the "
             "replicates showed the event."]
    if any(n in oc.equal_runs for n in names):
        notes.append("Equal allocation: the same looks, rules and thresholds, the same patients replicate by replicate; the error of the difference "
                     "is that of pairs. Thresholds are not calibrated anew for it, so compare power only where type I errors agree.")
    notes.append("A declaration is right where all regimes declared are best; by a rule that compares with a given regime, where all are better than "
                 "it by more than the rule's margin.")
    notes.append("Best, true and right refer to the scenario's truth; the posterior mean is what a trial believes: that of a regime selected for "
                 "being largest is too high on average (bias).")
    if len(oc.design.layout.decisions) > 1:
        notes.append("A patient counts as on a best course while the options assigned agree with the best regime (of several, with the one most "
                     "followed).")
    if oc.design.study.cluster is not None and any(getattr(oc.scenarios[n], "clusters", None) for n in names):
        notes.append(f"True values are averages over all {oc.design.study.cluster}s that could take part; models with effects of sites value "
                     "regimes at the trial's own, so that bias, error and coverage hold their luck too.")
    return notes

