"""`compare`: embedded or written regimes side by side, with P(best), the set of best, and what the optimal regime gains."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..errors import DecisionError, did_you_mean, listing
from ..inference import Convergence, Posterior
from ..inference.check import convergence
from ..schema import CHAIN, DRAW, REGIME
from ..study.rules import Rules, written
from ..study.timeline import Response
from ..text import decimal, fold, number, places
from .bestset import best_set
from .learner import REGRESSION
from .optimize import fitted_policy
from .regime import Regime
from .values import RegimeValues, Summary, batch_error, summarize, values_of, wins

SCALES = ("auto", "identity", "log-odds")


@dataclass(frozen=True)
class EmbeddedValue:
    """One regime of a comparison.

    Attributes
    ----------
    rules : Rules
    value : Summary
    p_best, p_best_error : float
        Probability of the highest value among the regimes compared, and its Monte Carlo standard error.
    upper_limit : float
        Simultaneous upper limit of its difference to the best, on the comparison's scale.
    in_best_set : bool
    patients : int
        Patients all of whose decisions are made and agree with the regime; with a lottery, with any of the options that it may draw.
    contrast : Summary or None
        Difference to the reference regime.
    name : str
        Of a regime that was given one.
    gain : Summary or None
        Value of the optimal regime minus its own, draw by draw, where the comparison is against one.
    """

    rules: Rules
    value: Summary
    p_best: float
    p_best_error: float
    upper_limit: float
    in_best_set: bool
    patients: int
    contrast: Summary | None
    name: str = ""
    gain: Summary | None = None

    @property
    def label(self) -> str:
        """Its name, or its rules in one line."""
        return self.name or self.rules.label


@dataclass(frozen=True, eq=False)
class Comparison:
    """Regimes side by side: the embedded ones of a study, or those that were given.

    Attributes
    ----------
    rows : tuple of EmbeddedValue
        In the order of the study's declaration, or as given.
    best : int
        Index of the regime with the highest posterior mean.
    draws : xarray.Dataset
        Variable ``value`` on (chain, draw, regime).
    alpha : float
        One minus the simultaneous probability of the set of best.
    scale : str
        Scale of the upper limits.
    method : str
        How the values were computed.
    reference : Rules or None
    reference_draws : array, shape (chain, draw), or None
        Value of the reference regime, on the draws of `draws`.
    convergence : Convergence
        Diagnostics of the values themselves.
    """

    rows: tuple[EmbeddedValue, ...]
    best: int
    draws: xr.Dataset
    alpha: float
    scale: str
    method: str
    reference: Rules | None
    reference_draws: np.ndarray | None
    convergence: Convergence

    def frame(self) -> Any:
        """The comparison as a pandas frame, one row per regime."""
        import pandas as pd

        prob = self.rows[0].value.ci_prob
        table = {
            "regime": [r.label for r in self.rows], "rules": [r.rules.label for r in self.rows],
            "mean": [r.value.mean for r in self.rows], "sd": [r.value.sd for r in self.rows],
            f"lower_{prob:g}": [r.value.lower for r in self.rows], f"upper_{prob:g}": [r.value.upper for r in self.rows],
            "p_best_regime": [r.p_best for r in self.rows], "p_best_mcse": [r.p_best_error for r in self.rows],
            "upper_limit": [r.upper_limit for r in self.rows], "in_best_set": [r.in_best_set for r in self.rows],
            "patients": [r.patients for r in self.rows],
        }
        if self.reference is not None:
            table["minus_reference"] = [r.contrast.mean if r.contrast else np.nan for r in self.rows]
        if any(r.gain for r in self.rows):
            table |= {f"gain{end}": [getattr(r.gain, what) if r.gain else np.nan for r in self.rows]
                      for end, what in (("", "mean"), (f"_lower_{prob:g}", "lower"), (f"_upper_{prob:g}", "upper"))}
        return pd.DataFrame(table)

    def __str__(self) -> str:
        prob = self.rows[0].value.ci_prob
        width = min(max(len("no choice"), *(len(r.label) for r in self.rows)), 34)
        lines = [f"{'regime':<{width}} {'mean':>9} {'sd':>8} {f'{prob:.0%} interval':>20} {'P(best)':>8} {'n':>4}  in set"]
        at = places(*(r.value.sd for r in self.rows))
        for r in self.rows:
            v = r.value
            first, *rest = _folded(r.label, width)
            lines.append(
                f"{first:<{width}} {decimal(v.mean, at):>9} {decimal(v.sd, at):>8} {v.between(at):>20} {r.p_best:>8.4f} {r.patients:>4}  "
                f"{'yes' if r.in_best_set else 'no'}"
            )
            lines += rest
        error = max(r.p_best_error for r in self.rows)
        error_text = number(error, ".4f")
        lots = " (with a lottery: by any of its options)" if any(r.rules.stochastic for r in self.rows) else ""
        lines.append(f"Equal-tailed intervals; P(best) by draws, Monte Carlo error at most {error_text}; n: patients who followed the regime{lots}.")
        lines.append(f"In set: cannot be told from the best, simultaneous {1 - self.alpha:.0%}, {self.scale} scale. Computed by {self.method}.")
        if gains := [f"  {r.label}: {r.gain}" for r in self.rows if r.gain is not None]:
            lines += ["Optimal regime minus", *gains]
        return fold("\n".join(lines))


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=True) or ["no choice"]


def _scale(posterior: Posterior, scale: str) -> str:
    if scale not in SCALES:
        raise DecisionError(f"compare: no scale {scale!r}; allowed: {listing(SCALES)}{did_you_mean(scale, SCALES)}")
    if scale != "auto":
        return scale
    names = posterior.study.utility.names
    node = posterior.study[names[0]]
    binary = isinstance(node, Response) and node.support == (0, 1) and posterior.study.weight(node.name) == 1
    return "log-odds" if len(names) == 1 and not posterior.study.utility.costs and binary else "identity"


def followed(posterior: Posterior, rules: Rules) -> np.ndarray:
    """Whether each patient's every decision, up to an end of the course, was made and agrees with a regime, shape (patient,).

    An option agrees with a lottery that may draw it, however rarely.
    """
    t, study = posterior.trajectories, posterior.study
    agrees, ended = np.ones(t.n, dtype=bool), t.finished(study)
    for decision in study.decisions:
        made = t.observed(decision.name)
        done = agrees & ~made & ended  # finished although not made: the course had ended
        rows = np.flatnonzero(agrees & made)
        agrees &= made
        if rows.size:
            history = t.history([n.name for n in study.before(decision.name)], rows) or {"": np.zeros(rows.size)}
            taken = t.columns[decision.name][rows].astype(int)
            agrees[rows] &= rules.chances(study, decision.name, history)[np.arange(rows.size), taken] > 0
        agrees |= done
    return agrees


def asked_for(posterior: Posterior, regimes: Mapping[str, Any] | None, verb: str = "compare") -> list[tuple[str, Rules]]:
    """Names and rules of the regimes to compare; embedded ones have no names."""
    study = posterior.study
    if regimes is None:
        return [("", r) for r in study.embedded()]
    if not isinstance(regimes, Mapping) or not regimes or not all(isinstance(n, str) and n for n in regimes):
        raise DecisionError(f"{verb}: regimes is a mapping of names to regimes, such as {{'usual care': {{'first': 'a'}}}}, got {regimes!r}.")
    return [(n, written(study, r.by_decision if isinstance(r, Rules) else r, f"regime {n!r}")) for n, r in regimes.items()]


def check_against(posterior: Posterior, against: Any, verb: str) -> None:
    """Raise unless an optimal regime belongs to a posterior."""
    if not isinstance(against, Regime):
        raise DecisionError(f"{verb}: against is a Regime, what optimize returns, got {type(against).__name__}.")
    if against.posterior.tree is not posterior.tree or against.posterior.study != posterior.study:
        raise DecisionError(f"{verb}: against is a regime of another posterior or of another utility; give {verb} the posterior it was made of.")


def valued(posterior: Posterior, rules: list[Rules], against: Regime | None, verb: str = "compare") -> RegimeValues:
    """Values of written regimes, and of the optimal one on the same draws where there is one."""
    if against is None:
        return values_of(posterior, rules, posterior.seed)
    check_against(posterior, against, verb)
    fitted = against.methods[posterior.study.decisions[0].name].startswith(REGRESSION)
    policy = (lambda world: fitted_policy(world, dict(against.fits))) if fitted else None
    found = values_of(posterior, rules, posterior.seed, optimal=True, policy=policy, safety=against.safety)
    if found.optimal is None:
        raise DecisionError(
            f"{verb}: with what these regimes look at, the tree of histories is too large and they are simulated, while the optimal regime's values "
            "come from a tree; give against=optimize(posterior, method='regression')."
        )
    return found


def compare(
    posterior: Posterior, *, regimes: Mapping[str, Any] | None = None, against: Regime | None = None, alpha: float = 0.05, ci_prob: float = 0.95,
    scale: str = "auto",
) -> Comparison:
    """Values of the embedded regimes, or of written ones, P(each is best), and the simultaneous set of best.

    Parameters
    ----------
    posterior : Posterior
    regimes : mapping of str to regime, optional
        Regimes to compare in place of the embedded ones, by name. A regime is a mapping of decisions to an option, or to a mapping of
        conditions to options, as a study's `reference`; an option may be a `Lottery`; or Rules, such as `as_assigned(study)`.
    against : Regime, optional
        The optimal regime of this posterior: what it gains over each of them, on the same draws, patients and random numbers.
    alpha : float
        One minus the simultaneous probability of the set of best.
    ci_prob : float
        Probability of the equal-tailed intervals.
    scale : {"auto", "identity", "log-odds"}
        Scale of the differences to the best; "auto" takes log-odds for a single 0/1 utility.

    Returns
    -------
    Comparison
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"compare takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    for name, given in (("alpha", alpha), ("ci_prob", ci_prob)):
        if not 0 < given < 1:
            raise DecisionError(f"compare: {name} must lie between 0 and 1, got {given!r}.")
    scale = _scale(posterior, scale)
    study = posterior.study
    asked = asked_for(posterior, regimes)
    ruled = [rules for _, rules in asked] + ([study.reference] if study.reference else [])
    found = valued(posterior, ruled, against)
    draws = found.draws[..., : len(asked)]
    reference = found.draws[..., -1] if study.reference else None
    flat = draws.reshape(-1, len(asked))
    if scale == "log-odds" and not ((flat > 0) & (flat < 1)).all():
        raise DecisionError(
            f"compare(scale='log-odds') needs values between 0 and 1, and they run from {flat.min():.4g} to {flat.max():.4g}; use scale='identity'."
        )
    chosen = best_set(flat, alpha=alpha, scale=scale)
    best = wins(draws)
    errors = batch_error(best)
    rows = tuple(
        EmbeddedValue(
            rules, summarize(draws[..., e], ci_prob), float(best[..., e].mean()), float(errors[e]), float(chosen.upper[e]), bool(chosen.member[e]),
            int(followed(posterior, rules).sum()), None if reference is None else summarize(draws[..., e] - reference, ci_prob),
            name, None if found.optimal is None else summarize(found.optimal - draws[..., e], ci_prob),
        )
        for e, (name, rules) in enumerate(asked)
    )
    labels = np.array([r.label for r in rows], dtype=np.str_)
    dataset = xr.Dataset(
        {"value": ((CHAIN, DRAW, REGIME), draws)}, coords={CHAIN: np.arange(draws.shape[0]), DRAW: np.arange(draws.shape[1]), REGIME: labels}
    )
    attitude = study.utility.attitude
    method = found.method if attitude is None else f"{found.method}; values are what totals are worth under {attitude}"
    return Comparison(rows, chosen.best, dataset, alpha, scale, method, study.reference, reference, convergence(dataset, None))
