"""Scenarios from the posterior of an earlier study: one for each draw, and one that averages over all of them."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrialError, listing
from ...inference import Posterior
from ...kept import Kept
from ...model import CompiledResponse, LinkedResponse, compile_response, make_inputs
from ...runtime import in_double_precision
from ...schema import CLUSTER, MISSING_SHIFT
from ...study import Scale, Study
from ...study import families as f
from ...study.codec import to_json
from ...study.counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from ...study.families import Family
from ...study.models import UserModel
from ...study.survival import Survival
from ...study.timeline import Response, labels_of
from .calendar import Calendar
from .covariates import Sites
from .draws import needs
from .functions import Function
from .laws import Law
from .resampled import Resampled

if TYPE_CHECKING:
    from .scenario import Scenario

WIDTH = 256
"""Histories that a model is asked about at a time, always as many, so that no answer depends on the others that it was asked for with."""
BLOCK = 2**20
"""Numbers in one block ``draws x histories``."""
CLUSTER_SD = "cluster_sd"
PLAIN = {f.Normal: "normal", f.StudentT: "t", f.LogNormal: "lognormal", f.Bernoulli: "bernoulli", Poisson: "poisson"}
"""Distributions that a user's model of a family may end in."""


def read_off(family: Family, d: Any) -> dict[str, Any]:
    """What a scenario's law of a family is made of, from the model's distribution: the mean (or probabilities of levels), then the rest."""
    from ...model.distributions import log_prob, mean_and_variance

    if family.levels is not None:
        import jax.numpy as jnp

        return {"mean": jnp.exp(log_prob(d, jnp.arange(len(family.levels), dtype=float)[:, None])).T}
    found = {"mean": mean_and_variance(d)[0]}
    if isinstance(family, (ZeroInflated, Hurdle)):
        return found | {"zero": d.gate} | {n: v for n, v in read_off(family.base, d.base_dist).items() if n != "mean"}
    if isinstance(family, f.StudentT):
        return found | {"sd": d.scale * (d.df / (d.df - 2)) ** 0.5, "df": d.df}
    if isinstance(family, f.Normal):
        return found | {"sd": d.scale}
    if isinstance(family, f.BetaBinomial):
        return found | {"concentration": d.concentration1 + d.concentration0}
    if isinstance(family, NegativeBinomial):
        return found | {"dispersion": d.concentration**-0.5}
    if isinstance(family, Survival):
        return found | ({"shape": d.concentration} if family.distribution == "weibull" else {"log_sd": d.sigma})
    return found | ({"log_sd": d.scale} if isinstance(family, f.LogNormal) else {})


@functools.lru_cache(maxsize=64)
def _program(compiled: CompiledResponse | LinkedResponse, family: Family) -> Kept:
    import jax

    def many(parameters, inputs):
        return jax.vmap(lambda p: read_off(family, compiled.predict(p, inputs)))(parameters)

    return Kept(many, compiled.address, "law of a scenario", repr(family))


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A response's model with some of its posterior draws, one or many.

    Attributes
    ----------
    study : Study
        That it was fitted in.
    response : str
    clusters : tuple of str
        Observed ones; the law is that of a site without an effect, which scenarios add.
    draws : mapping of str to array, shape (draw, ...)
    scales : mapping of str to Scale
    """

    study: Study
    response: str
    clusters: tuple[str, ...]
    draws: Mapping[str, np.ndarray]
    scales: Mapping[str, Scale]

    @property
    def compiled(self) -> CompiledResponse | LinkedResponse:
        """The model."""
        return compile_response(self.study, self.response, self.clusters)

    @property
    def family(self) -> Family:
        """Of the response."""
        node = self.study[self.response]
        assert isinstance(node, Response) and node.family is not None
        return node.family

    @functools.cached_property
    def digest(self) -> str:
        """Of all that it says."""
        made = hashlib.sha256(f"{to_json(self.study)} {self.response} {self.clusters} {sorted(self.scales.items())}".encode())
        for name in sorted(self.draws):
            made.update(f"{name} {self.draws[name].shape};".encode() + np.ascontiguousarray(self.draws[name]).tobytes())
        return made.hexdigest()[:16]

    @in_double_precision
    def law(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Mean and further quantities at histories by this study's codes, averaged over draws, shape (m,) or (m, level).

        An SD is the root of the mean square, so that the residual variance is averaged. Patients who are alike are worked out once.
        """
        table = np.stack([np.asarray(c, dtype=float) for c in columns.values()], axis=1)
        _, first, back = np.unique(table.view(np.dtype((np.void, table.itemsize * table.shape[1]))).ravel(), return_index=True, return_inverse=True)
        found = self._law({n: c[first] for n, c in columns.items()})
        return {n: v[back] for n, v in found.items()}

    def _law(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(columns.values())))
        compiled, parameters = self.compiled, self.draws or {"": np.zeros(1)}
        run, size = _program(compiled, self.family), len(next(iter(parameters.values())))
        step = min(size, BLOCK // WIDTH)
        made: list[dict[str, np.ndarray]] = []
        for begin in range(0, max(rows, 1), WIDTH):
            some = {n: np.resize(c[begin : begin + WIDTH], WIDTH) if rows else np.zeros(WIDTH, c.dtype) for n, c in columns.items()}
            inputs = make_inputs(compiled, some, np.full(WIDTH, len(self.clusters)), self.scales)
            total: dict[str, np.ndarray] = {}
            for first in range(0, size, step):
                found = run({n: v[first : first + step] for n, v in parameters.items()}, inputs)
                for name, value in found.items():
                    each = np.asarray(value)
                    total[name] = total.get(name, 0.0) + (each**2 if name == "sd" and size > 1 else each).sum(axis=0)
            made.append(total)
        mean = {n: np.concatenate([t[n] for t in made])[:rows] / size for n in made[0]}
        return {n: np.sqrt(v) if n == "sd" and size > 1 else v for n, v in mean.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return FittedModel, (self.study, self.response, self.clusters, dict(self.draws), dict(self.scales))


@dataclass(frozen=True)
class Fitted(Function):
    """One quantity of a fitted model as a function of the history.

    Attributes
    ----------
    model : FittedModel
    quantity : str
        "mean", or what else the family needs.
    """

    model: FittedModel = field(compare=False, repr=False)
    quantity: str = "mean"

    def answers(self, study: Study, response: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The quantity at histories by the codes of `study`, which may have fewer options than the fitted one."""
        mine = {}
        for node in study.before(response):
            values, labels = np.asarray(columns[node.name]), labels_of(node)
            if labels is not None:
                known = labels_of(self.model.study[node.name])
                assert known is not None
                mine[node.name] = np.array([known.index(v) for v in labels])[values.astype(np.intp)]
            else:
                mine[node.name] = values.astype(float)
        return self.model.law(mine)[self.quantity]

    def looks_at(self, name: str) -> bool:
        """Whether the model's answer depends on a variable."""
        return name in self.model.compiled.uses

    def check(self, study: Study, response: str, what: str) -> None:
        """Raise `TrialError` where a study's history or response is not that of the fitted study."""
        fitted = self.model.study
        node, other = study[response], fitted[response]
        assert isinstance(node, Response) and isinstance(other, Response)
        if node.family != other.family:
            raise TrialError(f"{what} was fitted as {other.family}, and here it is {node.family}.")
        here, there = [n.name for n in study.before(response)], [n.name for n in fitted.before(response)]
        if here != there:
            raise TrialError(f"{what} was fitted in a study in which {listing(there, 20)} came before it, and here {listing(here, 20)}; "
                             "a posterior says what happens in the study that it was fitted in.")
        for before in study.before(response):
            labels, known = labels_of(before), labels_of(fitted[before.name])
            if (labels is None) != (known is None):
                raise TrialError(f"{what}: {before.name!r} has labels in one of the fitted study and this one, and numbers in the other.")
            if labels is not None and (new := [v for v in labels if v not in known]):
                raise TrialError(f"{what}: the fitted study has no {new[0]!r} of {before.name!r} ({listing(known, 20)}), so its posterior says "
                                 "nothing of it.")

    def __str__(self) -> str:
        draws = max((len(v) for v in self.model.draws.values()), default=1)
        return "one posterior draw" if draws == 1 else f"mean of {draws:,} posterior draws"


# ---- scenarios ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PosteriorScenarios:
    """Scenarios drawn from a posterior: a function from a random generator to a scenario, as :func:`bayesdtr.assurance` takes it.

    Attributes
    ----------
    posterior : Posterior
    baseline, clusters, calendar
        As of :meth:`Scenario.from_posterior`.
    """

    posterior: Posterior
    baseline: Any = None
    clusters: Sites | None = None
    calendar: Calendar | None = None

    def __call__(self, rng: np.random.Generator) -> "Scenario":
        """The scenario of a draw picked at random."""
        return self.at(int(rng.integers(self.posterior.size)))

    def at(self, draw: int | None, name: str | None = None) -> "Scenario":
        """The scenario of one draw, chains end to end; of their mean for None."""
        from .scenario import Scenario

        law = {r.name: self._law(r.name, draw) for r in self.posterior.study.responses}
        return Scenario(name or ("posterior mean" if draw is None else f"posterior draw {draw}"), law, baseline=self._covariates(draw),
                        clusters=self._sites(draw), calendar=self.calendar)

    def _law(self, response: str, draw: int | None) -> Law:
        model = self._model(response, draw)
        forms = {n: Fitted(f"{__name__}:Fitted.{n}", model.digest, model.law, model, n) for n in ("mean", *needs(model.family, response))}
        return Law(**forms)

    def _model(self, response: str, draw: int | None) -> FittedModel:
        p = self.posterior
        compiled, draws = p.compiled(response), self._draws[response]
        members = (compiled.own, *compiled.earlier) if isinstance(compiled, LinkedResponse) else (compiled,)
        over = {name: dims for c in members for name, dims in c.dims.items()}
        chosen = {n: v if draw is None else v[draw : draw + 1] for n, v in draws.items()}
        for name, values in chosen.items():
            if CLUSTER in (dims := over.get(name.split("::")[-1], ())):
                chosen[name] = values = values.copy()
                values[(slice(None),) * (1 + dims.index(CLUSTER)) + (-1,)] = 0.0  # the site never seen, which rows here belong to
        return FittedModel(p.study, response, p.trajectories.cluster_labels, chosen, p.scales)

    @functools.cached_property
    def _draws(self) -> dict[str, dict[str, np.ndarray]]:
        return {r.name: self.posterior.draws(r.name) for r in self.posterior.study.responses}

    @functools.cached_property
    def _covered(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Different covariate rows of the observed patients, their frequencies, and their weights draw by draw."""
        from ...decision.values import baseline_rows, population_weights
        from ...decision.world import World

        rows, study = baseline_rows(self.posterior), self.posterior.study
        distinct, inverse = rows.unique()
        weights = population_weights(World.of(self.posterior), inverse, distinct.n, self.posterior.seed, rows.sets)
        shown = {b.name: np.array(b.levels)[distinct.columns[b.name].astype(int)] if b.levels else distinct.columns[b.name] for b in study.baselines}
        return shown, np.bincount(inverse, minlength=distinct.n) / len(inverse), weights

    def _covariates(self, draw: int | None) -> Any:
        if self.baseline is not None or not self.posterior.study.baselines:
            return self.baseline
        shown, frequency, weights = self._covered
        return Resampled(shown, frequency if draw is None else weights[draw] if len(weights) > 1 else weights[0])

    def _sites(self, draw: int | None) -> Sites | None:
        study, t = self.posterior.study, self.posterior.trajectories
        if self.clusters is not None or study.cluster is None:
            return self.clusters
        sds = {}
        for r in study.responses:
            if CLUSTER_SD in (found := self._draws[r.name]) and not isinstance(r.family, f.Categorical):
                sds[r.name] = float(np.sqrt(np.mean(found[CLUSTER_SD] ** 2)) if draw is None else found[CLUSTER_SD][draw])
        assert t.cluster is not None
        counts = np.bincount(t.cluster, minlength=len(t.cluster_labels))
        return Sites(t.cluster_labels, weights=counts.tolist(), sd=sds)


def scenarios_of(posterior: Any, baseline: Any = None, clusters: Sites | None = None, calendar: Calendar | None = None) -> PosteriorScenarios:
    """Scenarios of a posterior's draws.

    Raises
    ------
    TrialError
        Where its study's responses cannot be drawn from their families, or outcomes missing not at random were shifted.
    """
    if not isinstance(posterior, Posterior):
        raise TrialError(f"A scenario is made from a Posterior, got {type(posterior).__name__}; fit a study first.")
    if MISSING_SHIFT in posterior.tree.children:
        raise TrialError("This posterior shifts missing outcomes in their mean only, which is no law to draw outcomes from; give one without "
                         "missing_shift.")
    for r in posterior.study.responses:
        if r.family is None:
            raise TrialError(f"{r.name!r} has a model of the user's own and no family, so nothing says how it is drawn; declare a family.")
        needs(r.family, r.name)
        if isinstance(r.model, UserModel) and posterior.compiled(r.name).distribution != PLAIN.get(type(r.family)):
            raise TrialError(f"The model of {r.name!r} ends in a {posterior.compiled(r.name).distribution!r} distribution, which is not that of its "
                             f"family, {r.family.name}, so nothing says how it is drawn.")
        if r.name in posterior.study.patient_effects and r.family.levels is None and not isinstance(r.family, f.Bernoulli):
            raise TrialError(f"{r.name!r} shares a patient's effect with earlier responses, so given the history it is a mixture of {r.family.name} "
                             "laws, which scenarios do not draw; only responses with two values or with levels can share one here.")
    return PosteriorScenarios(posterior, baseline, clusters, calendar)
