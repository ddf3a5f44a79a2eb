"""`prior_predictive`: what the priors say about decisions, regimes and outcomes before any data."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DecisionError, InferenceError, StudyError
from ..inference import Posterior
from ..inference.fit import check_arguments
from ..study.counts import Count, ZeroInflated
from ..study.rules import Rules
from ..study.study import Study
from ..study.timeline import Response, labels_of
from ..text import WIDTH
from .induction import MOST_LEAVES, clairvoyant, following, leaves, solve
from .pretend import Setting, by_chance, setting_of, trial
from .rollout import following_rules
from .values import root_of, win_rates
from .world import Rows, World, looked_at
from .written import starting

if TYPE_CHECKING:
    from pandas import DataFrame

LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)
MOST_REGIMES = 24
BUDGET = 4e7
DRAWS = 300
SIMULATED = 300
"""Draws, and patients of each, by which regimes are simulated."""
FEWEST = 200
WIDEST = 20.0
"""Response SDs that the central 95 % of prior outcomes may span before the prior is called too wide; the defaults span about 11."""
HUGE = 1e4
"""Counts above this are called huge."""
EXTREME = 0.01
"""Distance from 0 and 1 within which a probability is called extreme."""


@dataclass(frozen=True)
class PriorBest:
    """Prior probability that each option of one feasible set is the best one, best later decisions supposed.

    Attributes
    ----------
    decision, condition : str
        The condition under which the set is feasible; empty for everyone.
    options : tuple of str
    probability : tuple of float
    """

    decision: str
    condition: str
    options: tuple[str, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class PriorPredictive:
    """What is believed before any data; prints as a page.

    Attributes
    ----------
    study : Study
    best : tuple of PriorBest
        One per decision and feasible set with a choice.
    starts_best : dict of str to float, or None
        By option of the first decision, averaged over patients; None where it was not worked out.
    regimes : DataFrame
        One row per embedded regime: ``regime``, ``mean``, ``sd``, ``lower``, ``upper`` of its value
        (95 %, equal-tailed), ``ess`` (patients following it that the prior is worth: variance of one
        patient's utility over the variance of the value), and ``difference_sd``, ``difference_lower``,
        ``difference_upper``, ``difference_ess`` (patients per regime) of its difference to the first.
    outcomes : DataFrame
        One row per response: ``response``, quantiles ``q0.025`` to ``q0.975``, ``lowest``, ``highest``,
        and ``extreme``: the share outside what is plausible (`extreme_is` says what).
    drawn : mapping of str to array, shape (draw, patient)
        Simulated outcomes, options taken at random.
    observed : mapping of str to array, shape (patient,)
        The data's, where there are any.
    values : array, shape (draw, regime)
    warnings : tuple of str
    notes : tuple of str
    """

    study: Study
    best: tuple[PriorBest, ...]
    starts_best: Mapping[str, float] | None
    regimes: "DataFrame"
    outcomes: "DataFrame"
    drawn: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray]
    values: np.ndarray
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        out = ["Before any data", "", "P(each option is best)"]
        for b in self.best:
            shares = ", ".join(f"{o} {p:.3f}" for o, p in zip(b.options, b.probability, strict=True))
            out.append(f"  {b.decision}{f', if {b.condition}' if b.condition else ''}: {shares}")
        if not self.best:
            out.append("  not worked out: too many histories to enumerate")
        out += ["", f"{'Value of each embedded regime':<44}{'mean':>9}{'SD':>9}{'95% interval':>22}{'ESS':>7}"]
        for row in self.regimes.to_dict("records"):
            first, *more = textwrap.wrap(row["regime"], 42) or ["no choice"]
            out.append(f"  {first:<42}{row['mean']:>9.3g}{row['sd']:>9.3g}{_interval(row['lower'], row['upper']):>22}{row['ess']:>7.3g}")
            out += [f"    {part}" for part in more]
        if len(self.regimes) > 1:
            worst = self.regimes.iloc[1:].sort_values("difference_sd").iloc[-1]
            out.append(f"  Widest difference to the first: {worst['regime']}: SD {worst['difference_sd']:.3g}, 95% "
                       f"{_interval(worst['difference_lower'], worst['difference_upper'])}, ESS {worst['difference_ess']:.3g} per regime")
        out += ["", f"{'Outcomes of single patients':<30}{'2.5%':>12}{'25%':>12}{'50%':>12}{'75%':>12}{'97.5%':>12}"]
        for row in self.outcomes.to_dict("records"):
            out.append(f"  {row['response']:<28}" + "".join(f"{row[f'q{level:g}']:>12.4g}" for level in LEVELS))
            if row["extreme_is"]:
                out.append(f"    share {row['extreme_is']}: {row['extreme']:.3f}")
        out += ["", *(f"Warning: {w}" for w in self.warnings), *self.notes]
        return "\n".join(part for line in out for part in (
            [line] if len(line) <= WIDTH else textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)))


def _interval(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"


def prior_predictive(study: Study | Posterior, data: Any = None, *, seed: int, draws: int = 1000) -> PriorPredictive:
    """What the priors say before any data: who is best, how far regimes lie apart, which outcomes are expected.

    Parameters
    ----------
    study : Study or Posterior
        A posterior lends its patients and scales (and the patients it borrowed), not its draws.
    data : pandas, polars or pyarrow frame, optional
        Patients, or their covariates alone; they give scales that are not declared. Without data
        covariates are made up from declared scales.
    seed : int
    draws : int
        Draws from the prior, over all chains.

    Returns
    -------
    PriorPredictive
        :func:`bayesdtr.plot.prior_predictive` draws its outcomes.

    Raises
    ------
    InferenceError
        When a scale is neither declared nor in the data (the message names it), or the prior is improper.
    DataError
        When the frame does not fit the study.
    """
    if not isinstance(study, (Study, Posterior)):
        raise InferenceError(f"prior_predictive takes a Study or a Posterior, got {type(study).__name__}.")
    if isinstance(study, Posterior) and data is not None:
        raise InferenceError("prior_predictive: a posterior has its own patients; leave data out or hand in the study.")
    check_arguments(study if isinstance(study, Study) else study.study, seed, "nuts", draws)
    setting = setting_of(study, data, seed=seed, draws=draws)
    columns, *_ = trial(setting.world, setting.rows, by_chance(setting.world, seed), seed)
    notes = [f"{setting.world.size} draws from the prior; {setting.origin}.",
             "ESS: effective sample size, variance of one patient's utility over the prior variance of the mean."]
    best, starts = _who_is_best(setting, columns, notes)
    table, values = _regimes(setting, seed, notes)
    outcomes, warnings = _outcomes(setting, columns)
    seen = setting.observed
    observed = {} if seen is None else {r.name: seen.columns[r.name][seen.observed(r.name)] for r in setting.world.study.responses}
    drawn = {r.name: columns[r.name] for r in setting.world.study.responses}
    return PriorPredictive(setting.world.study, best, starts, table, outcomes, drawn, observed, values, tuple(warnings), tuple(notes))


def _thinned(world: World, work: float) -> World:
    """Fewer draws where the work of one is large."""
    most = int(np.clip(BUDGET / max(work, 1), min(FEWEST, world.size), world.size))
    return world if most == world.size else world.take(np.linspace(0, world.size - 1, most).astype(int))


# ---- who is best -------------------------------------------------------------------------------------------


def _who_is_best(setting: Setting, columns: Mapping[str, np.ndarray], notes: list[str]) -> tuple[tuple[PriorBest, ...], dict[str, float] | None]:
    """P(best) at every decision, over histories simulated from the prior."""
    world = dataclasses.replace(setting.world, watched={})
    found, starts = [], None
    for stage, decision in enumerate(world.study.decisions):
        before = [n.name for n in world.study.before(decision.name)]
        # Patient by patient another draw of the prior, so that the histories are as various as it says.
        pick = np.arange(setting.rows.n) * world.size // setting.rows.n
        rows = Rows({n: columns[n][pick, np.arange(setting.rows.n)] for n in before}, setting.rows.cluster, setting.rows.n)
        distinct, inverse = rows.unique()
        try:
            if leaves(world, stage) > MOST_LEAVES:
                raise DecisionError("too many histories")
            share = np.zeros((distinct.n, len(decision.options)))
            for answer in solve(_thinned(world, leaves(world, stage) * distinct.n), stage, distinct, [clairvoyant]):
                share[answer.begin : answer.begin + len(answer.qbar)] = win_rates(answer.values[0])
        except DecisionError:
            notes.append(f"P(best) at {decision.name!r} was not worked out: too many histories to enumerate under the prior.")
            continue
        feasible = world.study.feasible(decision.name, rows.columns) if before else np.ones((rows.n, len(decision.options)), dtype=bool)
        found += _by_set(world.study, decision, share[inverse], feasible)
        if stage == 0:
            starts = dict(zip(decision.options, share[inverse].mean(axis=0).tolist(), strict=True))
    return tuple(found), starts


def _by_set(study: Study, decision: Any, share: np.ndarray, feasible: np.ndarray) -> list[PriorBest]:
    """Average over the patients with each feasible set that offers a choice."""
    found = []
    for options in decision.sets:
        mask = np.isin(decision.options, options)
        rows = (feasible == mask).all(axis=1)
        if len(options) < 2 or not rows.any():
            continue
        condition = " or ".join(str(c) for c, o in decision.choices if o == options and c.tests)
        average = share[rows].mean(axis=0)
        found.append(PriorBest(decision.name, condition, options, tuple(float(average[decision.options.index(o)]) for o in options)))
    return found


# ---- regimes -----------------------------------------------------------------------------------------------


def _exact_values(world: World, rows: Rows, regimes: Sequence[Rules]) -> np.ndarray | None:
    """Value of each regime under each draw, ``(draw, regime)``; None where the tree of histories is too large."""
    world = dataclasses.replace(world, watched=looked_at(regimes))
    distinct, inverse = rows.unique()
    share = np.bincount(inverse, minlength=distinct.n) / rows.n
    if leaves(world, 0) * distinct.n * world.size > BUDGET:
        return None
    total = np.zeros((world.size, len(regimes)))
    try:
        for answer in solve(world, 0, distinct, [following(world, r) for r in regimes]):
            at = np.arange(answer.begin, answer.begin + len(answer.qbar))
            for e, (rules, q) in enumerate(zip(regimes, answer.values, strict=True)):
                total[:, e] += starting(world, rules, root_of(world, distinct.take(at)), q) @ share[at]
    except DecisionError:  # a prior so wide that no grid resolves it
        return None
    return total


def _regimes(setting: Setting, seed: int, notes: list[str]) -> tuple["DataFrame", np.ndarray]:
    """The table of regimes and the draws of their values."""
    import pandas as pd

    world = setting.world
    names = ["regime", "mean", "sd", "lower", "upper", "ess", "difference_sd", "difference_lower", "difference_upper", "difference_ess"]
    try:
        regimes = world.study.embedded()
    except StudyError as error:
        notes.append(str(error))
        return pd.DataFrame(columns=names), np.empty((world.size, 0))
    if len(regimes) > MOST_REGIMES:
        notes.append(f"The first {MOST_REGIMES} of {len(regimes)} embedded regimes are shown.")
        regimes = regimes[:MOST_REGIMES]
    values = _exact_values(world, setting.rows, regimes)
    few = world.take(np.linspace(0, world.size - 1, min(world.size, DRAWS)).astype(int))
    many = setting.rows.take(np.tile(np.arange(setting.rows.n), -(-SIMULATED // setting.rows.n)))
    runs = [trial(few, many, following_rules(few, rules, seed), seed)[1:] for rules in regimes]
    single = [float(utility.var(axis=1, ddof=1).mean()) for utility, _ in runs]
    if values is None:
        values = np.stack([expected.mean(axis=1) for _, expected in runs], axis=-1)
        notes.append(f"Values of regimes by simulating {many.n} patients under each of {few.size} draws.")
    return pd.DataFrame([_regime(rules, values, single, e) for e, rules in enumerate(regimes)], columns=names), values


def _regime(rules: Rules, values: np.ndarray, single: list[float], e: int) -> list[Any]:
    """One line of the table: a regime's value, and its difference to the first."""
    v, d = values[:, e], values[:, e] - values[:, 0]
    line = [rules.label, float(v.mean()), float(v.std(ddof=1)), *map(float, np.quantile(v, [0.025, 0.975])), _ratio(single[e], v)]
    if not e:
        return line + [np.nan] * 4
    return [*line, float(d.std(ddof=1)), *map(float, np.quantile(d, [0.025, 0.975])), _ratio(single[e] + single[0], d)]


def _ratio(one: float, draws: np.ndarray) -> float:
    variance = float(draws.var(ddof=1))
    return one / variance if variance > 0 else np.inf


# ---- outcomes ----------------------------------------------------------------------------------------------


def _outcomes(setting: Setting, columns: Mapping[str, np.ndarray]) -> tuple["DataFrame", list[str]]:
    """Quantiles of every response, and what is absurd about them."""
    import pandas as pd

    rows, warnings = [], []
    for response in setting.world.study.responses:
        y = columns[response.name]
        finite = y[np.isfinite(y)]
        if finite.size < y.size:
            warnings.append(f"{response.name}: {1 - finite.size / y.size:.1%} of prior outcomes are not finite; the prior is far too wide.")
        if not finite.size:
            continue
        q = np.quantile(finite, LEVELS)
        what, share, warning = _judged(setting, response, columns, finite, q)
        if warning:
            warnings.append(warning)
        rows.append({"response": response.name, **{f"q{level:g}": float(v) for level, v in zip(LEVELS, q, strict=True)},
                     "lowest": float(finite.min()), "highest": float(finite.max()), "extreme": share, "extreme_is": what})
    names = ["response", *(f"q{level:g}" for level in LEVELS), "lowest", "highest", "extreme", "extreme_is"]
    return pd.DataFrame(rows, columns=names), warnings


def _judged(setting: Setting, response: Response, columns: Mapping[str, np.ndarray], y: np.ndarray, q: np.ndarray) -> tuple[str, float, str | None]:
    """What counts as extreme for a response, the share that is, and a warning where that is absurd."""
    name, family = response.name, response.family
    if family is None or (labels_of(response) is not None and response.support != (0, 1)):
        return "", np.nan, None
    if response.support == (0, 1):
        p = setting.world.simulate(name, columns, _spread(setting, columns), "mean")
        share = float(((p < EXTREME) | (p > 1 - EXTREME)).mean())
        return f"of patients' probabilities within {EXTREME:g} of 0 or 1", share, (
            f"{name}: {share:.0%} of patients' probabilities lie within {EXTREME:g} of 0 or 1; narrower priors of intercept and beta would help."
            if share > 0.5 else None)
    if isinstance(family, (Count, ZeroInflated)):
        share = float((y > HUGE).mean())
        return f"above {HUGE:g}", share, f"{name}: {share:.1%} of prior counts exceed {HUGE:g}; narrow its priors." if share > 0.01 else None
    if family.link == "identity" and name in setting.world.scales:
        sd = setting.world.scales[name].sd
        wide = float((q[-1] - q[0]) / sd)
        share = float((np.abs(y - np.median(y)) > WIDEST / 2 * sd).mean())
        return f"more than {WIDEST / 2:g} SD from the median", share, (
            f"{name}: the central 95% of prior outcomes span {wide:.3g} SD of the response; narrow its priors." if wide > WIDEST else None)
    if family.link == "log":
        share = float((y > HUGE * np.median(y)).mean()) if np.median(y) > 0 else np.nan
        return f"above {HUGE:g} times the median", share, (
            f"{name}: {share:.1%} of prior outcomes exceed {HUGE:g} times their median; narrow its priors." if share > 0.01 else None)
    return "", np.nan, None


def _spread(setting: Setting, columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    shape = next(iter(columns.values())).shape
    return None if setting.rows.cluster is None else np.broadcast_to(setting.rows.cluster, shape)
