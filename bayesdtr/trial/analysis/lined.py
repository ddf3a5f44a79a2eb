"""What Normal mixtures of the parameters say about a batch of trials at a look: values on lines through draws of them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...inference.latent import Latent
from ...kept import Kept, digest
from ...model import CompiledResponse
from ...runtime import double_precision
from ...study import Study
from ...study.attitude import earned_between
from ...study.rules import embedded_regimes
from ..observed import Observed
from .along import Fits, Fitted, Function, ahead, along, contrasts, directions, uniforms
from .compiled_tree import Tree
from .drawn import BATCHES
from .laws import Nudges
from .lines import Chances, Lines, ahead_of, compared, lead
from .looked import LANES, covariates, known, laned, marginal_people, padded, people
from .values import Values


class LinedPrograms:
    """Compiled trees of a study along lines, shared by all looks.

    Parameters
    ----------
    study : Study
    compiled : mapping of str to CompiledResponse
    models : mapping of str to Latent
        Of the responses with coefficients.
    draws : int
        A power of 2.
    """

    def __init__(self, study: Study, compiled: Mapping[str, CompiledResponse], models: Mapping[str, Latent], draws: int):
        self.study, self.models, self.draws = study, dict(models), draws
        self.tree = Tree(study, compiled, embedded_regimes(study))
        self.uniforms = uniforms(models, draws)
        addresses = [c.address for c in compiled.values()]
        address = None if None in addresses else digest(*addresses, repr(study.utility), repr(study.timeline), str(draws))  # type: ignore[arg-type]

        every = range(len(study.decisions))
        self.ahead = [tuple(r.name for d in study.decisions[k:] for r in study.after(d.name)) for k in every]
        # Made here and traced when first called, so that threads share them.
        self.regimes = self._kept(self._regimes, address, "regimes along lines")
        self.chances = [self._kept(functools.partial(self._chances, k), address, "chances along lines", str(k)) for k in every]
        self.options = [self._kept(functools.partial(self._options, k), address, "options along lines", str(k)) for k in every]
        self.marginal = [self._kept(functools.partial(self._marginal, k), address, "marginal along lines", str(k)) for k in every]

    def _kept(self, function: Callable[..., Any], address: str | None, *what: str) -> Kept:
        """A program of the fits of `LANES` trials and, for each lane, its trial and what else the function takes."""
        def each(fits: Fits, lanes: Any) -> Any:
            return jax.lax.map(lambda lane: function(jax.tree.map(lambda v: v[lane[0]], fits), *lane[1:]), lanes)

        return Kept(each, address, *what, beside=True)

    def _regimes(self, fits: Fits, columns: Any, cluster: Any, weight: jax.Array) -> Any:
        """Regimes averaged over patients by their weights."""
        count = len(self.tree.regimes)

        def values(draws: Any, nudges: Nudges) -> jax.Array:
            return self.tree.values(draws, columns, cluster, weight, nudges)[None]

        return _alone(self._along(fits, 0, values, contrasts(jnp.ones(count), _lines(count))[None]))

    def _options(self, decision: int, fits: Fits, columns: Any, cluster: Any, feasible: jax.Array) -> Any:
        """A decision's options for each patient, with what is feasible."""
        fits = _halved(fits)
        weights = jax.vmap(lambda mine: contrasts(mine, self.lines(decision)))(feasible)

        def values(draws: Any, nudges: Nudges) -> jax.Array:
            return self.tree.options(decision, draws, columns, cluster, nudges)

        return self._along(fits, decision, values, weights)

    def _chances(self, decision: int, fits: Fits, columns: Any, cluster: Any, feasible: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of the first of two feasible options of each patient: the probability of starting best, and the error that the draws leave."""
        pair = jnp.stack([jnp.argmax(feasible, axis=1), feasible.shape[1] - 1 - jnp.argmax(feasible[:, ::-1], axis=1)], axis=1)
        name = self.tree.ranked(decision)
        if name is not None:
            offset, slopes = self.tree.predictors(decision, {n: f.draws for n, f in fits.items()}, columns, cluster)
            gap, rise = -jnp.diff(_taken(offset, pair), axis=1)[:, 0], -jnp.diff(_taken(slopes, pair), axis=1)[:, 0]
            return ahead(fits[name], gap, rise), jnp.zeros(len(pair))
        fits = _halved(fits)

        def values(draws: Any, nudges: Nudges) -> jax.Array:
            return _taken(self.tree.options(decision, draws, columns, cluster, nudges), pair)

        weights = jnp.tile(jnp.array([1.0, -1.0]), (len(pair), 1, 1))
        lines = directions(values, fits, weights)
        worth, slopes = along(values, fits, lines)
        share = ahead_of(*lead(worth, slopes[:, 0], earned_between(self.study, decision + 1)), lines.at[:, 0], jnp)
        means = share.reshape(len(share), BATCHES, -1).mean(axis=2)
        return share.mean(axis=1), jnp.std(means, axis=1, ddof=1) / np.sqrt(BATCHES)

    def _marginal(self, decision: int, fits: Fits, columns: Any, cluster: Any, weight: jax.Array, feasible: jax.Array) -> Any:
        """A decision's options averaged over patients by their weights, with what is feasible."""

        def average(draws: Any, nudges: Nudges) -> jax.Array:
            return jnp.einsum("m,mob->ob", weight, self.tree.options(decision, draws, columns, cluster, nudges))[None]

        return _alone(self._along(fits, decision, average, contrasts(feasible, self.lines(decision))[None]))

    def lines(self, decision: int) -> int:
        """Lines through each draw for a decision's options: one where no more than two are ever feasible."""
        return _lines(max(len(s) for s in self.study.decisions[decision].sets))

    def _along(self, fits: Fits, decision: int, function: Function, weights: jax.Array) -> Any:
        """Values, slopes and places on lines, and both as they are compared; draws before entries."""
        lines = directions(function, fits, weights)
        values, slopes = along(function, fits, lines)
        scores, rises = compared(values[:, None], slopes, earned_between(self.study, decision + 1), jnp)
        return *(jnp.swapaxes(v, -1, -2) for v in (values, slopes)), lines.at, *(jnp.swapaxes(v, -1, -2) for v in (scores[:, 0], rises))


def _halved(fits: Fits) -> dict[str, Fitted]:
    """The first half of the draws, which are spread as evenly as all of them.

    A pair of one patient's options is told apart by half as many draws as several regimes are, and patients are asked about by the hundred.
    """
    half = len(next(iter(fits.values())).point) // 2
    return {n: f._replace(draws={k: v[:half] for k, v in f.draws.items()}, point=f.point[:half], deviations=f.deviations[:half])
            for n, f in fits.items()}


def _taken(every: jax.Array, pair: jax.Array) -> jax.Array:
    """Two options of each patient ``[patient, 2, ...]``, by number, from those of all."""
    return jnp.take_along_axis(every, pair.reshape(*pair.shape, *[1] * (every.ndim - 2)), axis=1)


def _alone(found: Any) -> Any:
    """The only group."""
    return tuple(v[0] for v in found)


def _lines(entries: int) -> int:
    return entries if entries > 2 else 1


class Part(NamedTuple):
    """Fits of some trials of a batch.

    Attributes
    ----------
    trials : array of int
    fits : Fitted, shape (LANES, ...), or (1, ...)
        In their order, filled up with copies of the first; or one that is the same for all.
    """

    trials: np.ndarray
    fits: Fitted


class LinedLook:
    """Posteriors of a batch of trials held as Normal mixtures of the parameters.

    Parameters
    ----------
    programs : LinedPrograms
    fit : callable
        Fits a response, by name, to the data of all trials, in parts. Called when it is first needed.
    data : Observed
    """

    def __init__(self, programs: LinedPrograms, fit: Callable[[str], Sequence[Part]], data: Observed):
        self.programs, self.study, self.data, self._fit = programs, programs.study, data, fit
        self._parts: dict[str, Sequence[Part]] = {}
        self._chunks: dict[tuple[str, int], Fitted] = {}

    @property
    def draws(self) -> dict[str, dict[str, np.ndarray]]:
        """Draws of the reported parameters by response and name, ``[trial, draw, ...]``."""
        return {r.name: self._of(r.name, np.arange(self.data.size)).draws for r in self.study.responses}

    def _fitted(self, name: str) -> Sequence[Part]:
        if name not in self._parts:
            self._parts[name] = self._fit(name)
        return self._parts[name]

    def _of(self, name: str, trials: np.ndarray) -> Fitted:
        """A response's fits of some trials, one by one."""
        parts = self._fitted(name)
        out = jax.tree.map(lambda v: np.empty((len(trials), *v.shape[1:]), v.dtype), parts[0].fits)
        for part in parts:
            to = np.flatnonzero(np.isin(trials, part.trials))
            place = np.searchsorted(part.trials, trials[to])
            jax.tree.map(lambda all_, v, t=to, p=place: all_.__setitem__(t, np.asarray(v)[p if len(v) > 1 else 0]), out, part.fits)
        return out

    def _chunk(self, name: str, number: int) -> Fitted:
        """The fits of `LANES` trials, as the programs take them: as they came, where trials were fitted together; handed over once."""
        if (name, number) not in self._chunks:
            here = np.arange(number * LANES, min((number + 1) * LANES, self.data.size))
            whole = [p.fits for p in self._fitted(name) if np.array_equal(p.trials, here) and len(p.fits.point) == LANES]
            self._chunks[name, number] = whole[0] if whole else jax.device_put(
                jax.tree.map(lambda v: padded(v, np.arange(len(here))), self._of(name, here)))
        return self._chunks[name, number]

    @functools.cached_property
    def _regimes(self) -> Lines:
        where, weight = people(self.data.enrolled, bool(self.study.baselines) or self.study.cluster is not None)
        columns, cluster = covariates(self.study, self.data, where)
        found = self._run(self.programs.regimes, 0, np.arange(self.data.size), (columns, cluster, weight))
        return Lines(*found[:3], earned_between(self.study), (found[3], found[4]))

    def regimes(self) -> Lines:
        """Values of the embedded regimes, averaged over the covariates of up to `PEOPLE` patients enrolled; batch = trials."""
        return self._regimes

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> Values:
        """Values of a decision's options for given patients, every draw going on by its own optimum; batch = patients."""
        trial, feasible = np.asarray(trial), np.asarray(feasible, dtype=bool)

        def lines() -> Lines:
            return self._lined(self._asked(self.programs.options[decision], decision, trial, columns, feasible), decision, feasible)

        if self.programs.lines(decision) > 1:
            return lines()
        first, error = self._asked(self.programs.chances[decision], decision, trial, columns, feasible)
        return Chances(lines, feasible, first, error)

    def _asked(
        self, program: Kept, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray
    ) -> list[np.ndarray]:
        """A program for some patients, those of a trial side by side in lanes of their own."""
        names = [n.name for n in self.study.before(self.study.decisions[decision].name)]
        rank, lane, trials, slots = laned(trial)
        cluster = None if self.study.cluster is None else np.asarray(columns[self.study.cluster])[slots]
        given = {n: known(np.asarray(columns[n]))[slots] for n in names}
        return self._run(program, decision, trials, (given, cluster, feasible[slots].astype(float)), lane, rank)

    def marginal(self, decision: int, feasible: np.ndarray) -> Lines:
        """As :meth:`options`, averaged over up to `PEOPLE` of the patients who reached the decision and had this feasible set; batch = trials.

        Where a trial has had none, all feasible options are worth the same.
        """
        feasible = np.asarray(feasible, dtype=bool)
        columns, cluster, weight = marginal_people(self.study, self.data, decision, feasible)
        every = np.tile(feasible.astype(float), (self.data.size, 1))
        found = self._run(self.programs.marginal[decision], decision, np.arange(self.data.size), (columns, cluster, weight, every))
        return self._lined(found, decision, feasible)

    def _run(
        self, program: Kept, decision: int, trial: np.ndarray, arguments: Any, lane: np.ndarray | None = None, rank: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """A program that begins at a decision, for lanes of trials, or for the patients at places in them."""
        whole = lane is None or rank is None
        out: list[np.ndarray] = []
        with double_precision():
            for f in np.unique(trial // LANES):
                mine, fits = np.flatnonzero(trial // LANES == f), {n: self._chunk(n, int(f)) for n in self.programs.ahead[decision]}
                for begin in range(0, len(mine), LANES):
                    index = mine[begin : begin + LANES]
                    given = jax.tree.map(lambda v, i=index: padded(v, i), (trial % LANES, *arguments))
                    found = [np.asarray(v) for v in program(fits, given)]
                    if whole:
                        to, parts = index, [v[: len(index)] for v in found]
                    else:
                        at = np.full(len(trial), -1)
                        at[index] = np.arange(len(index))
                        to = np.flatnonzero(at[lane] >= 0)
                        parts = [v[at[lane[to]], rank[to]] for v in found]
                    if not out:
                        size = len(trial) if whole else len(lane)
                        out = [np.empty((size, *v.shape[1:])) for v in parts]
                    for all_, part in zip(out, parts, strict=True):
                        all_[to] = part
        return out

    def _lined(self, found: list[np.ndarray], decision: int, feasible: np.ndarray) -> Lines:
        values, slopes, at, scores, rises = found
        values = np.where(feasible[..., None, :], values, -np.inf)
        return Lines(values, slopes, at, earned_between(self.study, decision + 1), (scores, rises))
