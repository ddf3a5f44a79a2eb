"""What ``print`` shows of a comparison of regimes by subgroup."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ...text import decimal, fold, places
from ..regime import Regime
from ..values import batch_error, summarize

if TYPE_CHECKING:
    from .fair import Fair

WIDTH, CELL, ACROSS = 30, 16, 3
"""Columns of a regime's name and of a subgroup's cell; subgroups side by side."""
MOST = 16
"""Regimes in the printed table."""


def told(f: "Fair") -> str:
    """The table by regime and subgroup, then what follows from it."""
    return fold("\n".join([*_table(f), *_constraint(f), *_choice(f), *_lottery(f), *_cautions(f)]))


def _table(f: "Fair") -> list[str]:
    means, losses, ok = f.draws.mean(axis=(0, 1)), f.losses, f.qualifies
    order = np.argsort(-means, kind="stable")
    kept = list(order[:MOST]) + [r for r in order[MOST:] if f.names[r] in (f.chosen, f.best)]
    lines: list[str] = []
    at = places(*(f.draws[..., r].std() for r in kept))
    for begin in range(0, len(f.groups), ACROSS):
        some = range(begin, min(begin + ACROSS, len(f.groups)))
        short = [f.groups[g].removeprefix(f"{f.by} = ").removeprefix(f"{f.by} ")[: CELL - 1] for g in some]
        heads = "".join(f"{label:>{CELL}}" for label in short)
        lines += [f"{'regime':<{WIDTH}} {'all':>9}{heads}  fair", f"{'n':<{WIDTH}} {sum(f.patients):>9}"
                  + "".join(f"{f.patients[g]:>{CELL}}" for g in some)]
        for r in kept:
            first, *rest = textwrap.wrap(f.names[r], WIDTH, subsequent_indent="  ") or [""]
            cells = ""
            for g in some:
                mean = f.group_draws[..., r, g].mean()
                cells += f"{decimal(mean, at) + ('' if losses is None else f' ({losses[r, g]:.3f})'):>{CELL}}"
            mark = "" if losses is None else "yes" if ok[r] else "no"
            lines += [f"{first:<{WIDTH}} {decimal(means[r], at):>9}{cells}  {mark}", *rest]
    if len(kept) < len(f.names):
        lines.append(f"... and {len(f.names) - len(kept)} more; frame() has all.")
    return lines


def _constraint(f: "Fair") -> list[str]:
    shown = f"Posterior mean values, all patients and subgroups by {f.by}"
    if f.reference is None:
        return [shown + "; computed by " + f.method + "."]
    return [
        f"{shown}; in brackets the probability of losing more than {f.margin:g} from the reference ({f.reference.label}). Fair: below "
        f"{f.probability:g} in every subgroup. Computed by {f.method}.",
    ]


def _choice(f: "Fair") -> list[str]:
    best = f.names.index(f.best)
    lines = [f"Best, whoever loses: {f.best}, value {summarize(f.draws[..., best])}"]
    losses = f.losses
    if f.losers and losses is not None and f.reference_draws is not None:
        parts = []
        for g in f.losers:
            i = f.groups.index(g)
            gain = f.group_draws[..., best, i] - f.reference_draws[..., i]
            parts.append(f"{g} (P(loss) {losses[best, i]:.3f}, mean gain {decimal(gain.mean(), places(gain.std()))})")
        lines.append(f"  under it too probably lose: {', '.join(parts)}")
    what = "Best fair regime" if f.objective == "value" else "Regime whose worst-off subgroup fares best"
    if f.chosen is None:
        lines.append(f"{what}: not possible. No regime of this class keeps every subgroup's probability of losing below {f.probability:g}"
                     + (f"; the closest, {_closest(f)}." if losses is not None else "."))
        lines.append("  The reference regime itself is not in the class, or it would qualify.")
        return lines
    r = f.names.index(f.chosen)
    smallest = f.group_draws[..., r, :].mean(axis=(0, 1))
    low = decimal(smallest.min(), places(f.draws[..., r].std()))
    lines.append(f"{what}: {f.chosen}, value {summarize(f.draws[..., r])}; smallest subgroup mean {low} "
                 f"({f.groups[int(smallest.argmin())]})")
    lines.append(f"  price of fairness, value given up: {f.price}" if f.chosen != f.best else "  no price: it is the best regime as well")
    return lines


def _closest(f: "Fair") -> str:
    losses = f.losses
    assert losses is not None
    r = int(losses.max(axis=1).argmin())
    g = int(losses[r].argmax())
    return f"{f.names[r]}, has {losses[r, g]:.3f} for {f.groups[g]}"


def _lottery(f: "Fair") -> list[str]:
    if f.lottery is None:
        return ["Lottery: not possible. No mixture of these regimes keeps every subgroup's mean within the margin of the reference's."]
    if len(f.lottery.shares) == 1:
        return [f"No lottery between these regimes has better means than {f.lottery.shares[0][0]} alone."]
    parts = ", ".join(f"{n} for {w:.1%}" for n, w in f.lottery.shares)
    low = int(f.lottery.group_values.argmin())
    lines = [
        f"Lottery, drawn once for each patient: {parts}; value {summarize(f.lottery.mixed(f.draws))}, price {f.lottery_price}; smallest subgroup "
        f"mean {decimal(f.lottery.group_values[low], places(f.lottery.mixed(f.draws).std()))} ({f.groups[low]})"]
    if f.reference_draws is not None:
        bad = f.lottery.mixed(f.group_draws) - f.reference_draws < -f.margin - f.rounding
        lines.append("  it meets the constraint in the mean; P(loss): " + ", ".join(
            f"{g} {p:.3f}" for g, p in zip(f.groups, bad.mean(axis=(0, 1)), strict=True)))
    return lines


def _cautions(f: "Fair") -> list[str]:
    lines = []
    error = float(batch_error(f.draws).max())
    said = f"Monte Carlo errors: of mean values at most {error:.2g}"
    if f.lost is not None:
        said += f", of probabilities at most {float(batch_error(f.lost).max()):.2g}"
    lines.append(said + ".")
    if f.undecided:
        lines.append(f"Monte Carlo error could have decided whether these qualify: {', '.join(f.undecided)}; take more draws.")
    if rival := _rival(f):
        lines.append(f"Monte Carlo error could have decided between {f.chosen} and {rival}.")
    optimal = next((n for n, r in f.regimes.items() if isinstance(r, Regime) and r.safety is None), None)
    if optimal is not None and not f.method.startswith("simulation"):
        lines.append(f"But for Monte Carlo error, {optimal} is the best for every subgroup in posterior mean: it takes the best option at every "
                     "history.")
    if not f.visible:
        lines.append("Models that do not see what tells these subgroups apart take them to fare alike given the same history.")
    return lines


def _rival(f: "Fair") -> str | None:
    """A regime that qualifies and whose lead over, or lag behind, the chosen one is within Monte Carlo error."""
    if f.chosen is None:
        return None
    r, near = f.names.index(f.chosen), []
    score = f.draws if f.objective == "value" else np.take_along_axis(
        f.group_draws, f.group_draws.mean(axis=(0, 1)).argmin(axis=1)[None, None, :, None], axis=3)[..., 0]
    for other in np.flatnonzero(f.qualifies):
        gap = score[..., r] - score[..., other]
        if other != r and gap.any() and not gap.mean() > 3 * float(batch_error(gap)):
            near.append((gap.mean(), f.names[other]))
    return min(near)[1] if near else None
