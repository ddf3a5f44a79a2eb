"""Stage-wise Q-learning with linear Normal models and conjugate priors, on design matrices: all imputations at once.

For calibration and for comparison with Q-learning by least squares, where thousands of data sets are to be learned from.
:func:`q_learn` is what decides about patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from ...errors import DecisionError, listing
from .pseudo import MODES, clairvoyant, keeps_outcomes

DEPENDENT = 1e-12
"""Smallest eigenvalue of the terms' correlations below which they count as linearly dependent."""


@dataclass(frozen=True, eq=False)
class LinearPrior:
    """Normal-inverse-gamma prior of a linear model: ``sigma^2 ~ IG(shape, rate)``, ``beta | sigma ~ N(mean, sigma^2 precision^-1)``.

    Attributes
    ----------
    mean : array, shape (p,)
    precision : array, shape (p, p)
    shape, rate : float
    """

    mean: np.ndarray
    precision: np.ndarray
    shape: float
    rate: float

    @classmethod
    def reference(cls, p: int) -> "LinearPrior":
        """``p(beta, sigma^2)`` proportional to ``1 / sigma^2``: posterior means are least squares, with n - p degrees of freedom."""
        return cls(np.zeros(p), np.zeros((p, p)), -p / 2, 0.0)


class LinearPosterior(NamedTuple):
    """Of one design and several outcomes.

    Attributes
    ----------
    mean : array, shape (outcome, p)
    root : array, shape (p, p)
        Lower Cholesky factor of the precision in units of ``1 / sigma^2``.
    shape : float
    rate : array, shape (outcome,)
    """

    mean: np.ndarray
    root: np.ndarray
    shape: float
    rate: np.ndarray

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One draw for each outcome: coefficients ``(outcome, p)`` and residual SDs ``(outcome,)``."""
        sigma = np.sqrt(self.rate / rng.gamma(self.shape, size=len(self.rate)))
        z = rng.standard_normal(self.mean.shape)
        return self.mean + sigma[:, None] * solve_triangular(self.root, z.T, lower=True, trans="T").T, sigma


def linear_posterior(design: np.ndarray, outcomes: np.ndarray, prior: LinearPrior) -> LinearPosterior:
    """Conjugate posterior of linear models with one design ``(n, p)`` for several outcomes ``(outcome, n)``.

    With ``P = X'X + L``: mean ``m = P^-1 (X'y + L mu)``, shape ``a + n/2``, rate ``b + (y'y + mu'L mu - m'P m) / 2``; the rate is worked
    out from residuals, which loses no digits.

    Raises
    ------
    DecisionError
        Where design and prior leave a coefficient, or the residual SD, undetermined.
    """
    precision = design.T @ design + prior.precision
    shape = prior.shape + len(design) / 2
    scale = np.sqrt(np.maximum(np.diagonal(precision), 1e-300))
    if np.linalg.eigvalsh(precision / np.outer(scale, scale))[0] < DEPENDENT:
        raise DecisionError("A linear Q-function has more terms than its patients tell apart; leave terms out or give a proper prior.")
    root = np.linalg.cholesky(precision)
    if shape <= 0:
        raise DecisionError(f"{len(design)} patients and {design.shape[1]} terms leave no information on the residual SD.")
    right = outcomes @ design + prior.precision @ prior.mean
    mean = solve_triangular(root, solve_triangular(root, right.T, lower=True), lower=True, trans="T").T
    away = mean - prior.mean
    rate = prior.rate + 0.5 * (((outcomes - mean @ design.T) ** 2).sum(axis=1) + np.einsum("gp,pq,gq->g", away, prior.precision, away))
    return LinearPosterior(mean, root, shape, rate)


@dataclass(frozen=True, eq=False)
class LinearStage:
    """One decision of all patients, in terms of a linear Q-function.

    Attributes
    ----------
    designs : array, shape (option, n, p)
        The terms under every option.
    received : array of int, shape (n,)
        -1 where the patient did not come to the decision.
    earned : array, shape (n,)
        Between this decision and the next.
    feasible : array of bool, shape (n, option), optional
        All options where left out.
    prior : LinearPrior, optional
        The reference prior where left out.
    """

    designs: np.ndarray
    received: np.ndarray
    earned: np.ndarray
    feasible: np.ndarray | None = None
    prior: LinearPrior | None = None

    @property
    def came(self) -> np.ndarray:
        """Patients who came to the decision, indices."""
        return np.flatnonzero(self.received >= 0)

    @property
    def design(self) -> np.ndarray:
        """Terms under what was received, by those who came, shape (came, p)."""
        return self.designs[self.received[self.came], self.came]

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """Value of every option for those who came under coefficients ``(..., p)``; ``-inf`` where infeasible; shape (..., came, option)."""
        q = np.stack([coefficients @ d[self.came].T for d in self.designs], axis=-1)
        return q if self.feasible is None else np.where(self.feasible[self.came], q, -np.inf)


class LinearQ(NamedTuple):
    """Of every decision, in time order: the draws, the outcomes they were fitted to and the committed rule.

    Attributes
    ----------
    coefficients : tuple of array, shape (draw, p)
    pseudo : tuple of array, shape (draw, came)
        The last one's are the observed outcomes, shape (1, came).
    choice : tuple of array of int, shape (came,)
    means : tuple of array, shape (p,)
        Posterior means of the coefficients: exact for the last decision, averaged over imputations before.
    """

    coefficients: tuple[np.ndarray, ...]
    pseudo: tuple[np.ndarray, ...]
    choice: tuple[np.ndarray, ...]
    means: tuple[np.ndarray, ...]


def linear_q(stages: Sequence[LinearStage], *, mode: str, size: int, seed: int) -> LinearQ:
    """Stage-wise Bayesian Q-learning backwards over linear stages.

    Parameters
    ----------
    stages : sequence of LinearStage
        In time order; a course ends where the next decision was not come to.
    mode : {"bml", "bml_committed", "mean", "mean_committed"}
        As for :func:`q_learn`.
    size : int
        Imputations, each with one draw of every stage.
    seed : int

    Returns
    -------
    LinearQ

    Notes
    -----
    The committed rule is that of the posterior mean of the coefficients, since values are linear in them.
    """
    if mode not in MODES:
        raise DecisionError(f"linear_q: no mode {mode!r}; modes: {listing(MODES)}")
    rng = np.random.default_rng([seed, 10])
    outcome = stages[-1].earned[None, stages[-1].came]
    found = []
    for k in reversed(range(len(stages))):
        stage = stages[k]
        p = stage.designs.shape[2]
        posterior = linear_posterior(stage.design, outcome, stage.prior or LinearPrior.reference(p))
        if len(outcome) == 1:
            posterior = posterior._replace(mean=np.broadcast_to(posterior.mean, (size, p)), rate=np.broadcast_to(posterior.rate, (size,)))
        beta, sigma = posterior.draw(rng)
        center = posterior.mean.mean(axis=0)
        choice = stage.values(center).argmax(axis=1)
        found.append((beta, outcome, choice, center))
        if k:
            before = stages[k - 1]
            total = np.broadcast_to(before.earned, (size, len(before.earned))).copy()
            total[:, stage.came] += _continued(mode, stage, beta, sigma, choice, outcome, rng)
            outcome = total[:, before.came]
    return LinearQ(*(tuple(reversed(part)) for part in zip(*found, strict=True)))


def _continued(
    mode: str, stage: LinearStage, beta: np.ndarray, sigma: np.ndarray, choice: np.ndarray, outcome: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What follows a decision for those who came to it, as :func:`pseudo.continued`; shape (draw, came)."""
    size, came = len(beta), stage.came
    best, expected = np.zeros((size, len(came)), dtype=int), np.full((size, len(came)), -np.inf)
    for option, design in enumerate(stage.designs):  # one option at a time: the same as an argmax, and three times as fast
        q = beta @ design[came].T
        better = q > expected if clairvoyant(mode) else np.broadcast_to(choice == option, q.shape)
        if stage.feasible is not None:
            better = better & stage.feasible[came, option]
        best[better], expected[better] = option, q[better]
    if not keeps_outcomes(mode):
        return expected
    drawn = expected + sigma[:, None] * rng.standard_normal(expected.shape)
    return np.where(best == stage.received[came], outcome, drawn)
