"""`optimize`: from a posterior to its optimal regime."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ..errors import DecisionError, did_you_mean, listing
from ..inference import Posterior
from ..inference.check import convergence, convergence_reasons
from ..schema import CHAIN, DRAW
from ..study.safety import Safety, SafetyGate
from .induction import Policy, committed, leaves, solve
from .learner import REGRESSION, plan
from .lines import straight
from .regime import Regime, rows_before
from .regression import MOST_DRAWS, StageFit, fit_stages
from .rollout import DRAWS, rollout
from .values import affordable, baseline_rows, chains_of, population_weights, thin_to
from .world import World

METHODS = ("auto", "tree", "regression")
GATED_DRAWS = 200
"""Draws that a fitted rule with gates is simulated under: all draws judge every history that is simulated."""


def optimize(
    posterior: Posterior, *, method: str = "auto", safety: SafetyGate | Sequence[SafetyGate] = (), default: Mapping[str, str] | None = None
) -> Regime:
    """The regime that maximises posterior-expected utility, by backward induction with committed later decisions.

    At each decision the utility to come is worked out on the tree of histories (discrete responses
    enumerated, continuous ones on a grid) where that has at most 4096 leaves per patient, and by
    regression Monte Carlo otherwise.

    Parameters
    ----------
    posterior : Posterior
    method : {"auto", "tree", "regression"}
        Force one of the two. Nothing lies ahead of the last decision, so "regression" leaves it to the tree.
    safety : SafetyGate or sequence of SafetyGate
        Options are removed, at every decision that a patient may come to, where a gate says so; the best of those left is chosen, and
        earlier decisions foresee it. :meth:`Regime.gates` is the record.
    default : mapping of decision to option, optional
        What is done where gates leave no option; it is not gated itself.

    Returns
    -------
    Regime

    Raises
    ------
    DecisionError
        For an unknown method, or "tree" where a response can only be simulated; where gates leave no option and there is no default.
    StudyError
        Where a gate or a default does not fit the study.

    Notes
    -----
    The average over draws is taken at every decision before the best option is chosen there
    (``E`` before ``max``); the larger ``max`` before ``E`` is never reported as a value.

    Gates are judged by all draws, under regression at every history that is simulated: seconds where a gate looks at a 0/1 or Normal response
    with a single linear predictor, minutes where it looks at levels or at a response that others of its stage come before.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"optimize takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    if method not in METHODS:
        raise DecisionError(f"optimize: no method {method!r}; allowed: {listing(METHODS)}{did_you_mean(method, METHODS)}")
    guard = Safety.of(posterior.study, safety, default)
    world = World.of(posterior).under(guard)
    rows = baseline_rows(posterior)
    methods = plan(world, method)
    fits: dict[str, StageFit] = {}
    if any(m.startswith(REGRESSION) for m in methods.values()):
        check_flat(posterior, world)
        fits = fit_stages(thin_to(world, posterior, MOST_DRAWS), rows, posterior.seed)
    first = posterior.study.decisions[0].name
    value = _simulated_value(posterior, world, fits) if methods[first].startswith(REGRESSION) else _tree_value(posterior, world)
    return Regime(judged(posterior, value), methods, fits, value, guard)


LEAST_SHARE = 0.9
"""Effective share of the draws, weighed by a patient's own history, below which regression's equal weights are refused."""


def check_flat(posterior: Posterior, world: World) -> None:
    """Refuse regression where it would ignore what patients' own histories say about shared parameters.

    Raises
    ------
    DecisionError
    """
    last = posterior.study.decisions[-1]
    names = [n.name for n in posterior.study.before(last.name)]
    seen = np.flatnonzero(np.all([posterior.trajectories.observed(n) for n in names], axis=0)) if names else np.empty(0, dtype=int)
    rows = rows_before(posterior, posterior.trajectories, last.name, seen)
    own = world.own_history(len(posterior.study.decisions) - 1, rows) if seen.size else None
    if own is not None and (share := float((1 / (own**2).mean(axis=0)).min())) < LEAST_SHARE:
        raise DecisionError(
            f"optimize: one patient's own history leaves {share:.0%} of the draws effective, because responses share parameters "
            "(patient_effects, pool_stages), and regression weighs draws equally; use method='tree', a discrete intermediate response, "
            "or more patients."
        )


def judged(posterior: Posterior, value: np.ndarray) -> Posterior:
    """The posterior with a verdict that fails when the regime's value, too, has not converged.

    Parameters may pass where a quantity made of them does not.
    """
    draws = xr.Dataset({"value of the regime": ((CHAIN, DRAW), value)})
    status, reasons = convergence_reasons(convergence(draws, None))
    if status != "fail":
        return posterior
    verdict = posterior.verdict
    return dataclasses.replace(posterior, verdict=dataclasses.replace(verdict, status="fail", reasons=(*reasons, *verdict.reasons)))


def _tree_value(posterior: Posterior, world: World, policy: Policy | None = None) -> np.ndarray:
    """Value under each draw of the committed rule, or of a policy down to the last decision, on the tree; shape (chain, draw)."""
    rows = baseline_rows(posterior)
    distinct, inverse = rows.unique()
    if policy is None:
        world = affordable(world, posterior, distinct.n, 0, closed=True)
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    total = np.zeros(world.size)
    for answer in solve(world, 0, distinct, [committed], policy):
        choice = answer.qbar.argmax(axis=1)
        q = answer.values[0][:, np.arange(len(choice)), choice]
        total += (weights[:, answer.begin : answer.begin + len(choice)] * q).sum(axis=1)
    return chains_of(posterior, total)


def fitted_policy(world: World, fits: dict[str, StageFit]) -> Policy:
    """The committed rule of fitted values as a policy for rollouts."""

    def policy(stage, columns, cluster):
        name = world.study.decisions[stage].name
        known = {n.name: columns[n.name] for n in world.study.before(name)}
        n = len(next(iter(columns.values())))
        out = np.empty(n, dtype=int)
        for begin in range(0, n, 65_536):
            piece = slice(begin, begin + 65_536)
            part = {c: v[piece] for c, v in known.items()}
            group = None if cluster is None else cluster[piece]
            out[piece] = fits[name].qbar(world, name, part, group, min(65_536, n - begin)).argmax(axis=1)
        return out

    return policy


def most_followed(world: World) -> float:
    """Evaluations up to which a policy is followed on the tree: closed forms count for more than they cost."""
    return 1e9 if any(straight(world, r.name) for r in world.study.responses) else 1e8


def _simulated_value(posterior: Posterior, world: World, fits: dict[str, StageFit]) -> np.ndarray:
    """Value of the fitted rule under each draw, never by the fit; shape (chain, draw).

    Followed on the tree of histories, without simulation, where the rule leaves few of them; else by fresh rollouts.
    """
    some = thin_to(world, posterior, DRAWS if world.safety is None else GATED_DRAWS)
    if leaves(world, 0, closed=True, followed=True) * baseline_rows(posterior).unique()[0].n * some.size <= most_followed(world):
        return _tree_value(posterior, some, fitted_policy(some, fits))
    return chains_of(posterior, rollout(some, baseline_rows(posterior), fitted_policy(some, fits), posterior.seed))
