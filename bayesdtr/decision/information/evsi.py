"""`evsi`: what the data of a further trial would be worth, by its size.

One trial is simulated under each posterior draw, its outcomes of each response are boiled down to linear Bayes estimates of the scores that
tell the draws apart (:class:`bayesdtr.decision.nexttrial.Digest`), and predictive distributions, or the values of given regimes, are regressed
on these over draws, so that no posterior is computed within another. A smaller trial is the beginning of a larger one: sizes are compared on
the same patients.
"""

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError
from ...inference import Posterior
from ...study.rules import Rules
from ...text import decimal, fold, places
from ..induction import BUDGET, leaves
from ..rollout import DRAWS
from ..values import batch_error
from ..world import World
from .bracketed import Bracketed
from .evppi import choice_of
from .nexttrial import allocation, digests
from .partial import COPIES, Gain, class_values, fits_tree, optimal_gains, simulated_gains, thinned, whole_groups
from .smoother import Smoother

MOST_DRAWS, FEWEST_DRAWS = 5000, 1000
"""Draws at most, and at least where trials are large: one trial is simulated under each."""
MOST_ENROLLED = 4_000_000
"""Simulated patients over all draws, about."""


@dataclass(frozen=True, eq=False)
class SampleInformation(Bracketed):
    """Expected value of sample information (EVSI) of a further trial, per patient treated after it, by its size.

    Attributes
    ----------
    sizes : tuple of int
        Patients in the trial, increasing.
    draws : array, shape (chain, draw, size)
        Gain once the data simulated under a draw are known; its mean is the EVSI, in units of the utility.
    cautious : array, shape (chain, draw, size)
        Gain of the rules that the data lead to in draws that the regression has not seen: on average at most the EVSI.
    everything : array, shape (chain, draw)
        Gain once all parameters are known; its mean is the EVPI.
    regimes : str
        Whose choice is informed, in words.
    notes : tuple of str
        How the trial is supposed to be run.
    population : float, optional
        Patients treated after the trial.
    cost_per_patient, fixed_cost : float
        Of the trial, in units of the utility.
    """

    sizes: tuple[int, ...]
    draws: np.ndarray
    cautious: np.ndarray
    everything: np.ndarray
    regimes: str
    notes: tuple[str, ...]
    population: float | None = None
    cost_per_patient: float = 0.0
    fixed_cost: float = 0.0

    @property
    def costs(self) -> np.ndarray:
        """Cost of a trial of each size, shape (size,); none without patients."""
        n = np.array(self.sizes, dtype=float)
        return np.where(n > 0, self.fixed_cost, 0.0) + self.cost_per_patient * n

    @property
    def net(self) -> np.ndarray:
        """Expected net benefit of sampling, shape (size,): population times EVSI, less the cost.

        Raises
        ------
        DecisionError
            Without a population.
        """
        if self.population is None:
            raise DecisionError("evsi: the net benefit needs population=, the number of patients who will be treated after the trial.")
        return self.population * self.values - self.costs

    @property
    def best(self) -> int:
        """The size of highest expected net benefit."""
        return self.sizes[int(self.net.argmax())]

    @property
    def rivals(self) -> tuple[int, ...]:
        """Other sizes whose net benefit is within two Monte Carlo errors of the best one's."""
        assert self.population is not None
        net, top = self.net, int(self.net.argmax())
        error = self.population * batch_error(self.draws[..., top : top + 1] - self.draws)
        return tuple(n for k, n in enumerate(self.sizes) if k != top and net[top] - net[k] <= 2 * error[k])

    def frame(self) -> Any:
        """One row per size: ``size``, ``evsi``, ``error``, ``at_least``, ``at_least_error``, ``share`` of the EVPI; with a population
        also ``net``, ``net_error``, ``best``."""
        import pandas as pd

        table = {"size": self.sizes, "evsi": self.values, "error": self.errors, "at_least": self.at_least, "at_least_error": self.at_least_errors,
                 "share": self.values / self.evpi if self.evpi > 0 else np.full(len(self.sizes), np.nan)}
        if self.population is not None:
            table |= {"net": self.net, "net_error": self.population * self.errors, "best": np.array(self.sizes) == self.best}
        return pd.DataFrame(table)

    def __str__(self) -> str:
        net = self.population is not None
        head = f"{'patients':>9} {'EVSI':>9} {'MC error':>9} {'of EVPI':>8} {'at least':>9} {'MC error':>9}"
        lines = [head + (f" {'net benefit':>12} {'MC error':>9}" if net else "")]
        at = places(*self.errors, self.evpi_error, figures=2)
        for row in self.frame().to_dict("records"):
            share = f"{row['share']:.0%}" if np.isfinite(row["share"]) else ""
            low = f"{decimal(max(row['at_least'], 0.0), at):>9} {row['at_least_error']:>9.2g}"
            line = f"{row['size']:>9} {decimal(row['evsi'], at):>9} {row['error']:>9.2g} {share:>8} {low}"
            lines.append(line + (f" {decimal(row['net'], places(row['net_error'], figures=2)):>12} {row['net_error']:>9.2g}" if net else ""))
        lines.append(f"{'EVPI':>9} {decimal(self.evpi, at):>9} {self.evpi_error:>9.2g}")
        lines.append(f"Per patient treated afterwards, in units of the utility; informed is the choice of {self.regimes}. EVSI by regression over "
                     "draws is a little too high; 'at least' is what the rules so learned add in draws that they were not learned from, "
                     "which is not.")
        if net:
            lines.append(f"Net benefit: {self.population:g} patients times EVSI, less {self.cost_per_patient:g} a patient of the trial"
                         + (f" and {self.fixed_cost:g}" if self.fixed_cost else "") + ". " + self._advice())
        return fold("\n".join([*lines, *self.notes]))

    def _advice(self) -> str:
        if self.net.max() <= 0:
            return "No trial of these sizes is worth its cost."
        others = self.rivals
        more = f"; within Monte Carlo error of it: {', '.join(map(str, others))}" if others else ""
        edge = " It is the largest size asked about; look at larger ones." if self.best == self.sizes[-1] else ""
        return f"Best size: {self.best} patients{more}.{edge}"


def evsi(
    posterior: Posterior, sizes: Sequence[int], *, seed: int, regimes: str | Mapping[str, Any] | None = None, population: float | None = None,
    cost_per_patient: float = 0.0, fixed_cost: float = 0.0,
) -> SampleInformation:
    """Expected value of sample information: what a further trial of each size would be worth per patient treated after it.

    Parameters
    ----------
    posterior : Posterior
        What is known today; its patients stand for those of the trial.
    sizes : sequence of int
        Numbers of patients that the trial could enroll.
    seed : int
    regimes : "embedded" or mapping of str to regimes, optional
        The choice after the trial is among these, one for all patients. By default it is among all regimes: an option for each history,
        at every decision.
    population : float, optional
        Patients who will be treated after the trial; gives the expected net benefit of sampling.
    cost_per_patient, fixed_cost : float
        Of the trial, in units of the utility.

    Returns
    -------
    SampleInformation
        :func:`bayesdtr.plot.evsi` draws it.

    Raises
    ------
    DecisionError
        For sizes that are none; where the tree of histories is too large, or responses share parameters, and no regimes are given.

    Notes
    -----
    With data ``X`` of the trial and value ``V`` of a regime ``d``, ``EVSI = E max_d E[V(d) | X] - max_d E[V(d)]``. One trial is simulated under
    each posterior draw: patients are drawn from the observed ones, options assigned as declared (in the shares seen where nobody randomized),
    everybody followed to the end. Predictive distributions, or the values of given regimes, are regressed over draws on summaries of its data.
    ``EVSI`` grows with the size from 0 to the EVPI. Safety gates play no part.

    References
    ----------
    Strong, Oakley, Brennan and Breeze 2015, Medical Decision Making 35:570-583 (regression on summaries); Heath et al. 2020, Medical
    Decision Making 40:314-326 (methods compared); Buhlmann 1967, ASTIN Bulletin 4:199-207 (linear Bayes estimates).
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"evsi takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    sizes = _sizes(sizes)
    _check_costs(seed, population, cost_per_patient, fixed_cost)
    rules, words = choice_of(posterior, regimes, "evsi")
    world = World.of(posterior, rules or ())
    if rules is None:
        whole_groups(world, dict.fromkeys((r.name for r in posterior.study.responses), Smoother(())))
    index = thinned(posterior, _most(world, sizes[-1]))
    world = world.take(index)
    told = digests(posterior, world, sizes, seed) if sizes[-1] else {}
    gains = _optimal(posterior, index, world, told, sizes) if rules is None else _among(posterior, world, told, sizes, rules)
    *parts, everything = gains
    cautious = np.stack([np.zeros(g.draws.shape) if g.cautious is None else g.cautious for g in parts], axis=-1)
    return SampleInformation(sizes, np.stack([g.draws for g in parts], axis=-1), cautious, everything.draws, words, _notes(posterior),
                             None if population is None else float(population), float(cost_per_patient), float(fixed_cost))


def _most(world: World, largest: int) -> float:
    """Draws that trials are simulated under, at most."""
    if not fits_tree(world):
        return DRAWS
    return min(np.clip(MOST_ENROLLED // max(largest, 1), FEWEST_DRAWS, MOST_DRAWS), BUDGET // (COPIES * leaves(world, 0)))


def _sizes(sizes: Any) -> tuple[int, ...]:
    given = [sizes] if isinstance(sizes, numbers.Integral) else sizes
    try:
        given = list(given)
    except TypeError:
        given = []
    if not given or not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) and n >= 0 for n in given):
        raise DecisionError(f"evsi: sizes are numbers of patients, 0 or more, such as [50, 100, 200], got {sizes!r}.")
    return tuple(sorted({int(n) for n in given}))


def _check_costs(seed: Any, population: Any, cost: Any, fixed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise DecisionError(f"evsi: seed is a whole number, 0 or more, got {seed!r}.")
    for name, value in (("population", population), ("cost_per_patient", cost), ("fixed_cost", fixed)):
        if value is not None and not (isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(value) and value >= 0):
            raise DecisionError(f"evsi: {name} is a number, 0 or more, got {value!r}.")
    if population is None and (cost or fixed):
        raise DecisionError("evsi: costs are set against the gain of a population; give population=, the number of patients treated after the trial.")


def _optimal(posterior: Posterior, index: np.ndarray, world: World, told: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[Gain]:
    """Every decision informed: predictive distributions regressed on what the trial tells of each response."""
    known: list[dict[str, Smoother | None]] = [{n: Smoother.of(v[k]) for n, v in told.items()} for k in range(len(sizes))]
    known.append(dict.fromkeys((r.name for r in posterior.study.responses), None))
    return optimal_gains(posterior, index, world, known)


def _among(posterior: Posterior, world: World, told: Mapping[str, np.ndarray], sizes: Sequence[int], rules: Sequence[Rules]) -> list[Gain]:
    """One of some regimes for everybody: their values regressed on what the trial tells of all responses."""
    values = class_values(posterior, world, rules)
    empty = np.zeros((len(sizes), world.size, 1))
    every = np.concatenate([empty, *told.values()], axis=2)
    return simulated_gains(posterior, values, [*(Smoother.of(every[k]) for k in range(len(sizes))), None])


def _notes(posterior: Posterior) -> tuple[str, ...]:
    study = posterior.study
    seen = [d.name for d in study.decisions if not allocation(posterior, d)[1]]
    how = f"options at {', '.join(seen)} in the shares seen among the patients, " if seen else ""
    return (f"The trial: the same study, patients drawn from the {posterior.trajectories.n} observed, {how}all followed to the end.",)
