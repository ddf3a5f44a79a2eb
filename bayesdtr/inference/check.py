"""Doubt a posterior: convergence, positivity by cell, posterior predictive; a verdict with reasons."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ..data import CellCount, Trajectories, cell_counts
from ..schema import CHAIN, DRAW, IMPUTED, SAMPLE_STATS, variable
from ..study.counts import Count, Hurdle, ZeroInflated
from ..study.study import Study
from ..study.survival import Survival
from ..study.timeline import Decision, Response
from .follow_up import as_seen
from .pareto import LARGEST_KHAT
from .posterior import Posterior
from .verdict import Convergence, PredictiveCheck, Verdict

RHAT_WARN, RHAT_FAIL = 1.01, 1.05
ESS_WARN, ESS_FAIL = 400, 100
DIVERGENT_FAIL = 0.01
KHAT_WARN, KHAT_FAIL = LARGEST_KHAT, 1.0
KHAT, ESS = variable("", "khat"), variable("", "ess")
"""Endings of the attributes that hold a response's diagnostics of importance weights."""
SPARSE = 5
"""A cell with fewer patients on an option than this cannot carry a recommendation by itself."""
PREDICTIVE_WARN = 0.05
"""Chance of a false alarm over all posterior predictive statistics together (Bonferroni)."""


def check(posterior: Posterior) -> Verdict:
    """Convergence, positivity and posterior predictive checks of a posterior.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    Verdict
        "fail" when chains have not converged (R-hat above 1.05, an effective sample size below 100,
        more than 1 % divergent draws) or the weights of a Laplace approximation cannot be trusted (k-hat
        of 1 or more; a warning from 0.7); "warn" when they nearly have, when a cell has fewer than
        five patients on an option, when treatments were not randomized, or when the data lie in the
        tails of what the model predicts; otherwise "ok".
    """
    return posterior.verdict


def convergence(posterior: xr.Dataset, stats: xr.Dataset | None) -> Convergence:
    """The worst R-hat and effective sample sizes (Vehtari et al. 2021) over all variables of a dataset."""
    from arviz_stats import ess, rhat

    draws = int(np.prod([posterior.sizes.get(d, 1) for d in (CHAIN, DRAW)]))
    divergences = int(stats["diverging"].sum()) if stats is not None and "diverging" in stats else 0
    broken = [str(n) for n, v in posterior.data_vars.items() if not np.isfinite(v).all()]
    if broken:
        return Convergence(float("inf"), broken[0], 0.0, 0.0, broken[0], divergences, draws)
    varying = posterior[[name for name, v in posterior.data_vars.items() if v.size and float(v.std()) > 0]]
    if not varying.data_vars:
        return Convergence(float("nan"), "no parameter", float("nan"), float("nan"), "no parameter", divergences, draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        r, bulk, tail = rhat(varying), ess(varying, method="bulk"), ess(varying, method="tail")
    worst_r = {n: float(v.max()) for n, v in r.data_vars.items()}
    worst_bulk = {n: float(v.min()) for n, v in bulk.data_vars.items()}
    top, low = max(worst_r, key=worst_r.__getitem__), min(worst_bulk, key=worst_bulk.__getitem__)
    return Convergence(worst_r[top], str(top), worst_bulk[low], min(float(v.min()) for v in tail.data_vars.values()), str(low), divergences, draws)


def weighed(found: Convergence, stats: xr.Dataset | None) -> Convergence:
    """Diagnostics with the worst k-hat and effective sample size of importance weights, where draws were weighed."""
    attributes = {} if stats is None else {str(n): float(v) for n, v in stats.attrs.items()}
    khats = {n.removesuffix(KHAT): v for n, v in attributes.items() if n.endswith(KHAT)}
    if not khats:
        return found
    worst = max(khats, key=khats.__getitem__)
    sizes = {n.removesuffix(ESS): v for n, v in attributes.items() if n.endswith(ESS)}
    least = min(sizes, key=sizes.__getitem__)
    found = dataclasses.replace(found, khat=khats[worst], khat_response=worst)
    if sizes[least] < found.ess_bulk:
        found = dataclasses.replace(found, ess_bulk=sizes[least], ess_variable=f"importance weights of {least}")
    return found


def convergence_reasons(c: Convergence) -> tuple[str, list[str]]:
    """Status and sentences that follow from convergence diagnostics."""
    reasons, status = [], "ok"
    smallest = min(c.ess_bulk, c.ess_tail)
    share = c.divergences / max(c.draws, 1)
    if np.isinf(c.rhat):
        return "fail", [f"{c.rhat_variable} has draws that are not finite: the sampler broke down."]
    if c.rhat > RHAT_WARN:
        reasons.append(f"R-hat of {c.rhat_variable} is {c.rhat:.3f} (should be below {RHAT_WARN}): the chains disagree; draw more.")
    if smallest < ESS_WARN:
        reasons.append(f"Effective sample size of {c.ess_variable} is {smallest:.0f} (should be above {ESS_WARN}): draw more.")
    if c.divergences:
        reasons.append(f"{c.divergences} of {c.draws} draws diverged ({share:.2%}): part of the posterior may not have been explored.")
    if c.khat is not None and c.khat >= KHAT_WARN:
        reasons.append(
            f"k-hat of {c.khat_response} is {c.khat:.2f} (should be below {KHAT_WARN}): the Laplace approximation is too far from the posterior "
            "to be corrected by weights; use engine='nuts'."
        )
    if reasons:
        status = "fail" if (c.khat or 0.0) >= KHAT_FAIL or c.rhat > RHAT_FAIL or smallest < ESS_FAIL or share > DIVERGENT_FAIL else "warn"
    return status, reasons


def positivity_reasons(study: Study, cells: list[CellCount]) -> list[str]:
    """One sentence per cell and option that too few patients received, and one per decision that nobody randomized."""
    reasons = []
    for cell in cells:
        for option, count in zip(cell.options, cell.counts, strict=True):
            if count < SPARSE:
                who = "nobody" if count == 0 else f"{count} patient{'s' if count > 1 else ''}"
                where = f" after {cell.label}" if cell.label else ""
                reasons.append(f"Positivity: {option!r} at {cell.decision!r}{where} was received by {who} (fewer than {SPARSE}).")
    if observed := [d.name for d in study.decisions if d.assigned == "observed" and any(len(s) > 1 for s in d.sets)]:
        reasons.append(f"Treatments at {', '.join(observed)} were observed, not randomized: exchangeability is the analyst's claim.")
    return reasons


def _groups(study: Study, response: Response, trajectories: Trajectories) -> list[tuple[str, np.ndarray]]:
    """Rows to summarise a response over: everyone, and each option of the decision before it."""
    seen = trajectories.observed(response.name)
    decision = [n for n in study.before(response.name) if isinstance(n, Decision)][-1]
    codes = trajectories.columns[decision.name]
    groups = [("all patients", np.flatnonzero(seen))]
    groups += [(f"{decision.name} = {o}", np.flatnonzero(seen & (codes == i))) for i, o in enumerate(decision.options)]
    return [(label, rows) for label, rows in groups if len(rows) >= SPARSE]


Statistic = tuple[str, Callable[..., Any], np.ndarray, np.ndarray]
"""A name and a function of the last axis; the values it is taken of, observed ``(patient,)`` and replicated ``(replicate, patient)``."""


def _statistics(response: Response, trajectories: Trajectories, replicated: np.ndarray) -> list[Statistic]:
    """What replicated data are compared by: shares of labelled values; else the mean, the SD where it is not implied, the share of zeros.

    Times are compared as they were seen: replicated ones are cut off at the patients' follow-up.
    """
    family, y = response.family, trajectories.columns[response.name]
    if isinstance(family, Survival):
        times, events = as_seen(trajectories, response.name, replicated)
        seen = trajectories.history([response.name])[response.name]
        happened = (~trajectories.censored(response.name)).astype(float)
        return [("number of events", np.sum, happened, events.astype(float)), ("mean time at risk", np.mean, seen, times)]
    if family is not None and family.levels is not None:
        return [(f"share of {label!r}", lambda v, code=code, **over: np.mean(v == code, **over), y, replicated)
                for code, label in enumerate(family.levels)]
    found: list[Statistic] = [("mean", np.mean, y, replicated)]
    if response.support != (0, 1):
        found.append(("SD", np.std, y, replicated))
    if isinstance(family, (Count, ZeroInflated, Hurdle)):
        found.append(("share of zeros", lambda v, **over: np.mean(v == 0, **over), y, replicated))
    return found


def predictive_checks(study: Study, trajectories: Trajectories, replicates: dict[str, np.ndarray], ci_prob: float = 0.95) -> list[PredictiveCheck]:
    """Statistics of each response, overall and by option, beside replicated data.

    Parameters
    ----------
    replicates : mapping of str to array, shape (replicate, patient)
        Of the responses to be checked.
    """
    found = []
    for response in (r for r in study.responses if r.name in replicates):
        statistics = _statistics(response, trajectories, replicates[response.name])
        for label, rows in _groups(study, response, trajectories):
            for name, statistic, y, replicated in statistics:
                observed, drawn = float(statistic(y[rows])), statistic(replicated[:, rows], axis=1)
                low, high = np.quantile(drawn, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
                p = 2 * (1 + min((drawn <= observed).sum(), (drawn >= observed).sum())) / (1 + len(drawn))
                found.append(PredictiveCheck(response.name, f"{name}, {label}", observed, float(low), float(high), float(min(p, 1.0))))
    return marked(found, min(len(r) for r in replicates.values()))


def marked(checks: list[PredictiveCheck], replicates: int) -> list[PredictiveCheck]:
    """Mark statistics in the tails, at a false alarm rate over all of them together; the smallest attainable tail always counts."""
    threshold = max(PREDICTIVE_WARN / max(len(checks), 1), 2 / (1 + replicates))
    return [dataclasses.replace(c, misfit=c.p <= threshold) for c in checks]


def doubts(study: Study, cells: list[CellCount], predictive: list[PredictiveCheck]) -> list[str]:
    """What warns whatever the sampler did: thin cells, treatments not randomized, data in the tails of what the model predicts."""
    return positivity_reasons(study, cells) + [
        f"Posterior predictive: {c.statistic} of {c.response!r} is {c.observed:.4g}, outside most replicated data ({c.lower:.4g} to {c.upper:.4g})."
        for c in predictive if c.misfit
    ]


def imputed_reasons(imputed: xr.Dataset) -> tuple[str, list[str]]:
    """Status and sentences on the values drawn for what is missing: chains must agree on each of them, and on their means.

    A single entry is one of many, so only chains that clearly disagree on it count; the mean of a
    variable's entries is judged as a parameter is.
    """
    summary = xr.Dataset({f"mean of {n}": v.mean(dim=[d for d in v.dims if d not in (CHAIN, DRAW)]) for n, v in imputed.data_vars.items()})
    status, reasons = convergence_reasons(convergence(summary, None))
    single = convergence(imputed, None)
    if single.rhat > RHAT_FAIL:
        name = f"an entry of {single.rhat_variable}"
        reasons.append(f"R-hat of {name} is {single.rhat:.3f} (should be below {RHAT_FAIL}): the chains disagree; draw more.")
        status = "warn" if status == "ok" else status
    return status, reasons


def examine(study: Study, trajectories: Trajectories, tree: xr.DataTree, replicates: dict[str, np.ndarray]) -> Verdict:
    """Carry out all checks and word the verdict."""
    stats = tree[SAMPLE_STATS].to_dataset() if SAMPLE_STATS in tree.children else None
    found = weighed(convergence(tree["posterior"].to_dataset(), stats), stats)
    status, reasons = convergence_reasons(found)
    if IMPUTED in tree.children:
        also, more = imputed_reasons(tree[IMPUTED].to_dataset())
        status, reasons = max(status, also, key=("ok", "warn", "fail").index), reasons + more
    cells = cell_counts(study, trajectories)
    predictive = predictive_checks(study, trajectories, replicates)
    softer = doubts(study, cells, predictive)
    if softer and status == "ok":
        status = "warn"
    return Verdict(status, tuple(reasons + softer), found, tuple(cells), tuple(predictive))
