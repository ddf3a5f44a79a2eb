"""Leave-one-patient-out predictive densities by Pareto smoothed importance sampling, and stacking weights.

The unit left out is the patient. Responses have separate parameters, hence independent posteriors,
so that leaving out all of a patient's responses at once is the same as leaving out each of them
from its own posterior:

    log p(y_i | y_-i) = sum over responses r of log p(y_ir | own history of i, y_-i,r).

Importance sampling is therefore done response by response, where its weights vary least, and a
patient's contributions are added. A response that was not observed contributes nothing. In a
clustered study the patient is left out and the other patients of the cluster stay: this is
prediction of a further patient of a known cluster, not of a new cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..errors import InferenceError, listing
from ..model import evaluate, make_inputs
from ..schema import CHAIN, DRAW, PATIENT, POSTERIOR, variable
from ..study.timeline import Response
from . import exact
from .fit import blocks_of
from .nuts import Block, sample
from .posterior import Posterior, stored

GOOD_K = 0.7
"""Above this shape of the tail, importance sampling cannot be relied on (Vehtari et al. 2024)."""
WARMUP = 1000
"""Warm-up iterations of a new fit; a posterior does not record those of its own."""
MOST_DRAWS = 20_000
"""Draws used, at most: more do not help the estimate, whose error comes from the tail."""
BLOCK = 2**22
"""Log densities held at once: 32 MiB in 64 bits."""


def log_likelihood(posterior: Posterior, response: str, rows: np.ndarray | None = None, thin: int = 1) -> np.ndarray:
    """Log density of patients' observed responses under each draw, given their own histories.

    Parameters
    ----------
    posterior : Posterior
    response : str
    rows : array of int, optional
        Patients, by row; all who have the response by default. Their memory is draws x rows.
    thin : int
        Every so many draws.

    Returns
    -------
    array, shape (draw, row)
        Densities of continuous responses are per unit of the response.

    Raises
    ------
    InferenceError
        When a row has no such response.
    """
    t = posterior.trajectories
    seen = t.observed(response)
    rows = np.flatnonzero(seen) if rows is None else np.asarray(rows)
    if not seen[rows].all():
        raise InferenceError(f"log_likelihood: response {response!r} is not observed for row {int(rows[~seen[rows]][0])}.")
    found = _log_density(posterior, response, posterior.draws(response, thin), rows)
    return found if posterior.compiled(response).parameters else np.broadcast_to(found, (-(-posterior.size // thin), len(rows)))


def _log_density(posterior: Posterior, response: str, draws: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Log density of some patients' responses under any draws of a posterior's model, shape (draw, row).

    A right-censored time counts with its log survival, one known up to an interval with the log probability of the interval.
    """
    t, compiled = posterior.trajectories, posterior.compiled(response)
    if lost := [n for n in compiled.history if not t.observed(n)[rows].all()]:
        raise InferenceError(
            f"Predictive densities of {response!r} are given the patient's history, of which {listing(lost)} is missing for some and drawn; leaving "
            "patients out, and comparing models by it, is for data whose histories are complete."
        )
    cluster = None if t.cluster is None else t.cluster[rows]
    extras = {name: values[rows] for name, values in t.extras.items()}
    inputs = make_inputs(compiled, t.history(compiled.history, rows), cluster, posterior.scales, extras)
    y = t.columns[response][rows].astype(float)
    found = evaluate(compiled, draws, inputs, "log_density", y)
    censored, upper = t.censored(response)[rows], extras.get(variable(response, "upper"), y)
    inside = np.isfinite(upper) & (upper > y)
    if not (censored | inside).any():
        return found
    alive = evaluate(compiled, draws, inputs, "log_survival", y)
    later = evaluate(compiled, draws, inputs, "log_survival", np.where(inside, upper, 2 * y))
    between = alive + np.log(-np.expm1(np.where(inside, np.minimum(later - alive, -1e-300), -1.0)))
    return np.where(censored, alive, np.where(inside, between, found))


def log_likelihood_dataset(posterior: Posterior) -> xr.Dataset:
    """Pointwise log likelihood of every response, a variable each on (chain, draw, patient); 0 where a response is not observed.

    Nothing stores it: draws x patients numbers per response are held. For ArviZ, put it into a tree:
    ``xr.DataTree.from_dict({"posterior": ..., "log_likelihood": log_likelihood_dataset(posterior)})``.
    """
    t, variables = posterior.trajectories, {}
    for response in posterior.study.responses:
        seen = t.observed(response.name)
        values = np.zeros((*posterior.shape, t.n))
        values[..., seen] = log_likelihood(posterior, response.name).reshape(*posterior.shape, -1)
        variables[response.name] = ((CHAIN, DRAW, PATIENT), values)
    return xr.Dataset(variables, coords={CHAIN: np.arange(posterior.shape[0]), DRAW: np.arange(posterior.shape[1]), PATIENT: t.ids})


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Leave-one-patient-out predictive densities of one posterior.

    Attributes
    ----------
    elpd, p_loo, khat : mapping of str to array, shape (patient,)
        By response: expected log predictive density, effective number of parameters, and shape of
        the importance weights' tail; NaN for patients without the response. Responses that share
        parameters count as one, under their names: "r and y".
    refitted : mapping of str to array of bool, shape (patient,)
        For whom the model was fitted again without the patient, so that `khat` does not matter.
    """

    elpd: Mapping[str, np.ndarray]
    p_loo: Mapping[str, np.ndarray]
    khat: Mapping[str, np.ndarray]
    refitted: Mapping[str, np.ndarray]

    def patients(self, response: str | None = None) -> np.ndarray:
        """Expected log predictive density of each patient, shape (patient,): of one response, or of all that were observed.

        NaN for a patient without any.
        """
        if response is not None:
            return self.elpd[response]
        table = np.stack(list(self.elpd.values()))
        return np.where(np.isnan(table).all(axis=0), np.nan, np.nansum(table, axis=0))

    def high(self, response: str | None = None) -> int:
        """How many patients have a tail that is too heavy (k-hat above 0.7, not refitted) for a response, or for any."""
        names = [response] if response is not None else list(self.khat)
        return int(np.any([(self.khat[n] > GOOD_K) & ~self.refitted[n] for n in names], axis=0).sum())


def relative_efficiency(posterior: Posterior, response: str) -> float:
    """Effective draws per draw, averaged over a response's parameters; 1 for independent draws and for models without parameters."""
    from arviz_stats import ess

    names = [stored(response, p) for p in posterior.compiled(response).parameters]
    if posterior.engine == "exact" or not names or posterior.shape[0] < 2:
        return 1.0
    found = ess(posterior.tree[POSTERIOR].to_dataset()[names], method="mean")
    values = np.concatenate([np.ravel(found[n].values) for n in names])
    values = values[np.isfinite(values)]
    return float(values.mean() / posterior.size) if values.size else 1.0


def _smoothed(values: np.ndarray, efficiency: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected log predictive density, effective number of parameters and shape of the tail, from log densities ``[draw, row]``."""
    from arviz_stats.base import array_stats

    # Where the smallest densities of a row are all the same its weights are bounded, and there is no tail to smooth: so it is with a patient
    # of whom the parameters say nothing.
    tail = max(5, int(np.ceil(min(len(values) / 5, 3 * np.sqrt(len(values) / efficiency)))) + 1)
    flat = np.ptp(np.partition(values, min(tail, len(values) - 1), axis=0)[: tail + 1], axis=0) < 1e-12
    elpd = -_log_mean_exp(-values)
    khat = np.full(values.shape[1], -np.inf)
    p_loo = _log_mean_exp(values) - elpd
    if not flat.all():
        with np.errstate(all="ignore"):
            elpd[~flat], found, p_loo[~flat] = array_stats.loo(values[:, ~flat].T[:, None, :], r_eff=efficiency)
        khat[~flat] = np.where(np.isnan(found), np.inf, found)
    return elpd, p_loo, khat


def _log_mean_exp(values: np.ndarray) -> np.ndarray:
    top = values.max(axis=0)
    return top + np.log(np.exp(values - top).mean(axis=0))


def leave_one_out(posterior: Posterior, *, refit: bool = False) -> LeaveOneOut:
    """Leave each patient out in turn by Pareto smoothed importance sampling, in bounded memory.

    Parameters
    ----------
    posterior : Posterior
    refit : bool
        Fit a response again without the patient wherever k-hat exceeds 0.7: exact, and as slow as a
        fit each time.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    InferenceError
        When the posterior gives an observed response no density under some draw.
    """
    tables: tuple[dict[str, np.ndarray], ...] = ({}, {}, {}, {})
    thin = -(-posterior.size // MOST_DRAWS)
    for unit in units(posterior):
        seen = np.flatnonzero(np.any([posterior.trajectories.observed(n) for n in unit], axis=0))
        found = np.full((4, posterior.trajectories.n), np.nan)
        found[3] = False
        efficiency = min(1.0, min(relative_efficiency(posterior, n) for n in unit) * thin)
        step = max(1, BLOCK // -(-posterior.size // thin))
        for begin in range(0, len(seen), step):
            rows = seen[begin : begin + step]
            found[:3, rows] = _smoothed(_of_unit(posterior, unit, rows, thin), efficiency)
        for row in np.flatnonzero(found[2] > GOOD_K) if refit else ():
            elpd = refitted_density(posterior, unit, int(row))
            found[0, row], found[1, row], found[3, row] = elpd, found[0, row] + found[1, row] - elpd, True
        for table, row in zip(tables, found, strict=True):
            table[" and ".join(unit)] = row
    return LeaveOneOut(*tables[:3], {n: v.astype(bool) for n, v in tables[3].items()})


def units(posterior: Posterior) -> list[tuple[str, ...]]:
    """Names of the responses that are left out together: those that share parameters, at the place of their first, and each other one."""
    shared = posterior.study.shared
    return [tuple(shared) if r.name in shared else (r.name,) for r in posterior.study.responses if r.name not in shared[1:]]


def _of_unit(posterior: Posterior, unit: tuple[str, ...], rows: np.ndarray, thin: int) -> np.ndarray:
    """Log density of all that was observed of some patients, shape (draw, row)."""
    total = np.zeros((-(-posterior.size // thin), len(rows)))
    for response in unit:
        seen = posterior.trajectories.observed(response)[rows]
        if not seen.any():
            continue
        values = log_likelihood(posterior, response, rows[seen], thin)
        if not np.isfinite(values).all():
            bad = posterior.trajectories.ids[rows[seen][~np.isfinite(values).all(axis=0)][0]]
            raise InferenceError(
                f"Response {response!r}: some draws give the observed value of patient {bad} a density of zero or infinity, so "
                "leaving patients out is not possible; look at the model's support."
            )
        total[:, seen] += values
    return total


def refitted_density(posterior: Posterior, unit: tuple[str, ...], row: int) -> float:
    """Log predictive density of a patient's response, or responses, under the posterior of all others, by a new fit.

    Scales, hence priors, stay as they were. Conjugate cells are drawn anew; other posteriors are
    sampled with the patient's weight at zero, whatever engine drew them.

    Raises
    ------
    InferenceError
        When the others alone do not determine the posterior.
    """
    t = posterior.trajectories
    drawn = (_exact_without if posterior.engine == "exact" else _sampled_without)(posterior, unit, row)
    here = np.array([row])
    observed = [n for n in unit if t.observed(n)[row]]
    return float(_log_mean_exp(sum(_log_density(posterior, n, drawn[n], here) for n in observed))[0])


def _exact_without(posterior: Posterior, unit: tuple[str, ...], row: int) -> dict[str, Mapping[str, np.ndarray]]:
    t, study, (name,) = posterior.trajectories, posterior.study, unit
    node, size = study[name], min(posterior.size, MOST_DRAWS)
    assert isinstance(node, Response)
    try:
        return {name: exact.draw(study, t.subset(np.delete(np.arange(t.n), row)), node, size=size, seed=posterior.seed)}
    except InferenceError as error:
        raise InferenceError(f"Without patient {t.ids[row]} there is no posterior to predict with. {error}") from error


def _sampled_without(posterior: Posterior, unit: tuple[str, ...], row: int) -> dict[str, Mapping[str, np.ndarray]]:
    t, study = posterior.trajectories, posterior.study
    blocks = []
    for block in blocks_of(study, t, dict(posterior.scales)):
        weight = np.where(np.arange(t.n) == row, 0.0, block.weight)  # [patient], or [response, patient] of responses that share parameters
        blocks.append(Block(block.compiled, block.inputs, block.y, weight))
    # Blocks of responses that share nothing come first, in time order, and those that share parameters are one at the end.
    alone = [r.name for r in study.responses if r.name not in study.shared]
    block = blocks[-1] if unit[0] in study.shared else blocks[alone.index(unit[0])]
    chains, draws = posterior.shape
    (made,) = sample([block], seed=posterior.seed, draws=draws, warmup=WARMUP, chains=chains, show=False)
    values = {p: v.reshape(chains * draws, *v.shape[2:]) for p, v in made.values.items()}
    if unit[0] not in study.shared:
        return {unit[0]: values}
    return {n: {p: values[stored(n, p)] for p in posterior.compiled(n).parameters} for n in unit}


def stacking_weights(elpd: Sequence[np.ndarray]) -> np.ndarray:
    """Weights on the simplex under which the mixture of leave-one-out predictive densities has the highest log score.

    Parameters
    ----------
    elpd : sequence of array, shape (patient,)
        Of each model; NaN where nothing was observed (the same patients in all).

    Returns
    -------
    array, shape (model,)
        Yao, Vehtari, Simpson and Gelman (2018). Models that predict every patient alike get equal
        weights, since none is better than another.
    """
    from arviz_stats import compare
    from arviz_stats.utils import ELPDDataLOO

    points = np.stack(elpd)
    points = points[:, np.isfinite(points).all(axis=0)]
    if len(points) == 1 or not points.shape[1] or np.ptp(points, axis=0).max() < 1e-12:
        return np.full(len(points), 1 / len(points))
    points = points - points.max(axis=0)  # the best weights do not depend on it, and densities far below one do not vanish
    n = points.shape[1]
    results = {
        str(m): ELPDDataLOO(elpd=float(p.sum()), se=0.0, p=0.0, n_samples=1, n_data_points=n, scale="log", warning=False, good_k=GOOD_K,
                            elpd_i=xr.DataArray(p, dims=[PATIENT]))
        for m, p in enumerate(points)
    }
    table = compare(results, method="stacking", round_to="none")
    weights = np.clip(table["weight"].loc[[str(m) for m in range(len(points))]].to_numpy(dtype=float), 0.0, None)
    return weights / weights.sum()
