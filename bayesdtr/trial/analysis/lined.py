"""What Normal mixtures of the parameters say about a batch of trials at a look: values on lines through draws of them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from ...inference.latent import Latent
from ...kept import Kept, digest
from ...model import CompiledResponse
from ...runtime import double_precision
from ...study import Study
from ...study.attitude import earned_between
from ...study.rules import embedded_regimes
from ..observed import Observed
from .along import Fits, along, contrasts, uniforms
from .compiled_tree import Tree
from .lines import Lines, compared
from .looked import LANES, covariates, known, laned, marginal_people, padded, people

SLOTS = 8
"""Patients of one trial that are asked about together; more take several lanes."""
ASKED = 64
"""Draws whose lines patients' options are valued on."""


class LinedPrograms:
    """Compiled trees of a study along lines, shared by all looks.

    Parameters
    ----------
    study : Study
    compiled : mapping of str to CompiledResponse
    models : mapping of str to Latent
        Of the responses with coefficients.
    draws : int
        Of the regimes' values; of options' there are up to `ASKED`, the first of them.
    """

    def __init__(self, study: Study, compiled: Mapping[str, CompiledResponse], models: Mapping[str, Latent], draws: int):
        self.study, self.models, self.draws = study, dict(models), draws
        self.tree = Tree(study, compiled, embedded_regimes(study))
        self.uniforms = uniforms(models, draws)
        self.standard = {n: ndtri(np.clip(u[:, 1:], 1e-12, 1 - 1e-12)) for n, u in self.uniforms.items()}
        addresses = [c.address for c in compiled.values()]
        address = None if None in addresses else digest(*addresses, repr(study.utility), repr(study.timeline), str(draws))  # type: ignore[arg-type]

        every = range(len(study.decisions))
        # Made here and traced when first called, so that threads share them.
        self.regimes = self._kept(self._regimes, address, "regimes along lines")
        self.options = [self._kept(functools.partial(self._options, k), address, "options along lines", str(k)) for k in every]
        self.marginal = [self._kept(functools.partial(self._marginal, k), address, "marginal along lines", str(k)) for k in every]

    def _kept(self, function: Callable[..., Any], address: str | None, *what: str) -> Kept:
        """A program of the fits of `LANES` trials and, for each lane, its trial and what else the function takes."""
        def each(fits: Fits, lanes: Any) -> Any:
            return jax.lax.map(lambda lane: function(jax.tree.map(lambda v: v[lane[0]], fits), *lane[1:]), lanes)

        return Kept(each, address, *what)

    def _regimes(self, fits: Fits, columns: Any, cluster: Any, weight: jax.Array) -> Any:
        """Regimes averaged over patients by their weights."""
        count = len(self.tree.regimes)
        return self._along(fits, 0, lambda draws: self.tree.values(draws, columns, cluster, weight), contrasts(jnp.ones(count), _lines(count)))

    def _options(self, decision: int, fits: Fits, columns: Any, cluster: Any, feasible: jax.Array) -> Any:
        """A decision's options for each patient, with what is feasible."""
        def patient(own: Any, site: Any, mine: jax.Array) -> Any:
            alone = {n: v[None] for n, v in own.items()}, None if site is None else site[None]
            values = lambda draws: self.tree.options(decision, draws, *alone)[0]  # noqa: E731
            return self._along(fits, decision, values, contrasts(mine, self._most(decision)), ASKED)

        return jax.vmap(patient)(columns, cluster, feasible)

    def _marginal(self, decision: int, fits: Fits, columns: Any, cluster: Any, weight: jax.Array, feasible: jax.Array) -> Any:
        """A decision's options averaged over patients by their weights, with what is feasible."""
        average = lambda draws: jnp.einsum("m,mob->ob", weight, self.tree.options(decision, draws, columns, cluster))  # noqa: E731
        return self._along(fits, decision, average, contrasts(feasible, self._most(decision)), ASKED)

    def _most(self, decision: int) -> int:
        return _lines(max(len(s) for s in self.study.decisions[decision].sets))

    def _along(self, fits: Fits, decision: int, function: Callable[[Any], jax.Array], weights: jax.Array, most: int | None = None) -> Any:
        """Values, slopes and places on lines, and both as they are compared; draws before entries."""
        some = {n: f._replace(draws=jax.tree.map(lambda v: v[:most], f.draws), point=f.point[:most]) for n, f in fits.items()}
        values, slopes, at = along(function, self.models, some, {n: z[:most] for n, z in self.standard.items()}, weights)
        scores, rises = compared(values, slopes, earned_between(self.study, decision + 1), jnp)
        return values.T, jnp.swapaxes(slopes, 1, 2), at, scores.T, jnp.swapaxes(rises, 1, 2)


def _lines(entries: int) -> int:
    return entries if entries > 2 else 1


class LinedLook:
    """Posteriors of a batch of trials held as Normal mixtures of the parameters.

    Parameters
    ----------
    programs : LinedPrograms
    fits : sequence of Fits
        Of `LANES` trials each.
    place : array of int, shape (trial, 2)
        Each trial's fits, and its lane there.
    data : Observed
    """

    def __init__(self, programs: LinedPrograms, fits: Sequence[Fits], place: np.ndarray, data: Observed):
        self.programs, self.study, self.fits, self.place, self.data = programs, programs.study, fits, place, data

    @functools.cached_property
    def _regimes(self) -> Lines:
        where, weight = people(self.data.enrolled, bool(self.study.baselines) or self.study.cluster is not None)
        columns, cluster = covariates(self.study, self.data, where)
        found = self._run(self.programs.regimes, np.arange(self.data.size), (columns, cluster, weight))
        return Lines(*found[:3], earned_between(self.study), (found[3], found[4]))

    def regimes(self) -> Lines:
        """Values of the embedded regimes, averaged over the covariates of up to `PEOPLE` patients enrolled; batch = trials."""
        return self._regimes

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> Lines:
        """Values of a decision's options for given patients, every draw going on by its own optimum; batch = patients."""
        trial, feasible = np.asarray(trial), np.asarray(feasible, dtype=bool)
        names = [n.name for n in self.study.before(self.study.decisions[decision].name)]
        rank, lane, trials = laned(trial, SLOTS)
        slots = np.zeros((len(trials), SLOTS), dtype=int)  # which patient stands where; empty places repeat the lane's first
        first = np.full(len(trials), len(trial))
        np.minimum.at(first, lane, np.arange(len(trial)))
        slots[:] = first[:, None]
        slots[lane, rank] = np.arange(len(trial))
        cluster = None if self.study.cluster is None else np.asarray(columns[self.study.cluster])[slots]
        given = {n: known(np.asarray(columns[n]))[slots] for n in names}
        found = self._run(self.programs.options[decision], trials, (given, cluster, feasible[slots].astype(float)), lane, rank)
        return self._lined(found, decision, feasible)

    def marginal(self, decision: int, feasible: np.ndarray) -> Lines:
        """As :meth:`options`, averaged over up to `PEOPLE` of the patients who reached the decision and had this feasible set; batch = trials.

        Where a trial has had none, all feasible options are worth the same.
        """
        feasible = np.asarray(feasible, dtype=bool)
        columns, cluster, weight = marginal_people(self.study, self.data, decision, feasible)
        every = np.tile(feasible.astype(float), (self.data.size, 1))
        found = self._run(self.programs.marginal[decision], np.arange(self.data.size), (columns, cluster, weight, every))
        return self._lined(found, decision, feasible)

    def _run(
        self, program: Kept, trial: np.ndarray, arguments: Any, lane: np.ndarray | None = None, rank: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """A program for lanes of trials, or for the patients at places in them."""
        whole = lane is None or rank is None
        out: list[np.ndarray] = []
        with double_precision():
            for f, fits in enumerate(self.fits):
                mine = np.flatnonzero(self.place[trial, 0] == f)
                for begin in range(0, len(mine), LANES):
                    index = mine[begin : begin + LANES]
                    given = jax.tree.map(lambda v, i=index: padded(v, i), (self.place[trial, 1], *arguments))
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
