"""Audits of an engine: looks picked at random are refitted with NUTS, and the probabilities of being best compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..luck import uniforms
from ..observed import Observed
from .protocol import Analyst, LookPosterior


def audited(seed: int, replicates: np.ndarray, look: int, share: float) -> np.ndarray:
    """Which trials' look is audited: at random by seed, replicate and look, whatever the batch.

    Parameters
    ----------
    seed : int
    replicates : array of int, shape (trial,)
    look : int
    share : float
        Between 0 and 1.

    Returns
    -------
    array of bool, shape (trial,)
    """
    return uniforms(seed, np.asarray(replicates), f"audit of look {look}", ()) < share


@dataclass(frozen=True, eq=False)
class Audited:
    """Looks that were refitted.

    Attributes
    ----------
    replicates, looks : array of int, shape (look,)
    p, error, reference, reference_error : array, shape (look, regime)
        Probability that each embedded regime is the best, by the engine and by NUTS, with Monte Carlo errors.
    best, reference_best : array of int, shape (look,)
        The regime with the largest posterior mean.
    gap, gap_error : array, shape (look,)
        By how much, under NUTS, its best regime's posterior mean exceeds that of the engine's, and the Monte Carlo error of that difference.
    """

    replicates: np.ndarray
    looks: np.ndarray
    p: np.ndarray
    error: np.ndarray
    reference: np.ndarray
    reference_error: np.ndarray
    best: np.ndarray
    reference_best: np.ndarray
    gap: np.ndarray
    gap_error: np.ndarray

    def take(self, index: int) -> "Audited":
        """One of the looks."""
        return Audited(*(getattr(self, name)[index : index + 1] for name in self.__dataclass_fields__))


def refit(posterior: LookPosterior, engine: Analyst, data: Observed, replicates: np.ndarray, look: int, which: np.ndarray) -> Audited:
    """Refit some trials of a batch at one look.

    Parameters
    ----------
    posterior : LookPosterior
        Of the engine that is audited, for the whole batch.
    engine : Analyst
        The reference, which answers in draws: :class:`~bayesdtr.trial.analysis.nuts.NutsAnalyst`.
    data : Observed
    replicates : array of int, shape (trial,)
    look : int
    which : array of bool, shape (trial,)

    Returns
    -------
    Audited
    """
    some = np.flatnonzero(which)
    mine, theirs = posterior.regimes().take(some), engine.look(data.take(some), np.asarray(replicates)[some], look).regimes()
    (p, error), (reference, reference_error) = mine.p_best(), theirs.p_best()
    best, wanted = mine.mean().argmax(axis=1), theirs.mean().argmax(axis=1)
    draws = np.asarray(theirs.draws)  # type: ignore[attr-defined]
    take = lambda which: np.take_along_axis(draws, which[:, None, None], axis=2)[..., 0]  # noqa: E731
    apart = take(wanted) - take(best)
    size = apart.shape[1] // BATCHES * BATCHES
    noise = apart[:, :size].reshape(len(some), BATCHES, -1).mean(axis=2).std(axis=1, ddof=1) / np.sqrt(BATCHES)
    return Audited(np.asarray(replicates)[some], np.full(len(some), look), p, error, reference, reference_error, best, wanted,
                   apart.mean(axis=1), noise)


BATCHES = 16
"""Runs of consecutive draws, for Monte Carlo errors of differences between means."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes
    ----------
    looks : int
        Number of looks refitted.
    largest, upper : float
        Largest difference in a regime's P(best) at any look, and the 95th percentile over looks of each look's largest; NaN without looks.
    noise : float
        95th percentile of the Monte Carlo errors of the differences: what is left even between equal posteriors.
    disagreements : int
        Looks at which another regime has the largest posterior mean.
    beyond : int
        Disagreements that are more than the reference's Monte Carlo noise (4 standard errors).
    worst : tuple of int, or None
        Replicate and look of the largest difference.
    """

    looks: int
    largest: float
    upper: float
    noise: float
    disagreements: int
    beyond: int
    worst: tuple[int, int] | None

    @classmethod
    def of(cls, parts: Sequence[Audited]) -> "Audit":
        """Sum up refitted looks."""
        parts = [a for a in parts if len(a.replicates)]
        if not parts:
            return cls(0, np.nan, np.nan, np.nan, 0, 0, None)
        joined = lambda name: np.concatenate([getattr(a, name) for a in parts])  # noqa: E731
        apart = np.abs(joined("p") - joined("reference")).max(axis=1)
        noise = np.hypot(joined("error"), joined("reference_error")).max(axis=1)
        differ = joined("best") != joined("reference_best")
        at = int(apart.argmax())
        return cls(len(apart), float(apart.max()), float(np.quantile(apart, 0.95)), float(np.quantile(noise, 0.95)), int(differ.sum()),
                   int((differ & (joined("gap") > 4 * joined("gap_error"))).sum()), (int(joined("replicates")[at]), int(joined("looks")[at])))

    def __str__(self) -> str:
        if not self.looks:
            return "Audit: no look was refitted with NUTS."
        assert self.worst is not None
        return "\n".join([
            f"Audit: {self.looks} looks refitted with NUTS",
            f"  largest difference in P(best)  {self.largest:.4f}  (replicate {self.worst[0]}, look {self.worst[1] + 1})",
            f"  95th percentile over looks     {self.upper:.4f}  (Monte Carlo error of a difference up to {self.noise:.4f})",
            f"  another regime ahead           {self.disagreements} of {self.looks} looks, {self.beyond} beyond Monte Carlo noise",
        ])
