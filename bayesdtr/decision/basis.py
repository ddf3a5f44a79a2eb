"""Functions of a history that the value of a decision is regressed on, and the regression itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..study.study import Study
from ..study.timeline import finite_values

KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
FINE_KNOTS, FINE_UP_TO = tuple((k + 0.5) / 11 for k in range(11)), 2
"""Quantiles of the knots where no more variables than these are continuous."""


@dataclass(frozen=True)
class Basis:
    """Functions of a history that values are regressed on.

    Attributes
    ----------
    numeric : tuple of (name, location, SD, (low, high), knots)
        Each gives a linear term and a hinge at each knot. Values beyond what was simulated count as
        its edge: a fit is not extrapolated.
    labels : tuple of (name, code)
        Indicators of options, levels and 0/1 values, the first of each left out.
    pairs : bool
        Whether products of two terms (without hinges) are included.
    hinges : bool
        Whether products of a hinge and a term are: a kink may then move with the history.
    clusters : int
        Number of clusters, each with a level and with a product by every label; 0 without clusters.
    """

    numeric: tuple[tuple[str, float, float, tuple[float, float], tuple[float, ...]], ...]
    labels: tuple[tuple[str, float], ...]
    pairs: bool
    hinges: bool
    clusters: int

    @classmethod
    def of(cls, study: Study, decision: str, columns: Mapping[str, np.ndarray], size: int, clusters: int) -> "Basis":
        """Choose knots and terms from `size` simulated histories before a decision; columns ``(size,)``."""
        numeric, labels = [], []
        before = study.before(decision)
        levels = KNOTS if sum(finite_values(n) is None for n in before) > FINE_UP_TO else FINE_KNOTS
        for node in before:
            column = columns[node.name]
            finite = finite_values(node)
            if finite is None and np.ptp(column) > 0:
                location, sd = float(column.mean()), float(column.std())
                z = (column - location) / sd
                numeric.append((node.name, location, sd, (float(z.min()), float(z.max())), tuple(float(k) for k in np.quantile(z, levels))))
            elif finite is not None:
                codes = [study.code(node.name, v) for v in finite]
                labels += [(node.name, c) for c in codes[1:] if (column == c).any()]
        count, room = len(numeric) + len(labels), size // 8
        pairs = count * (count - 1) // 2 <= room
        hinges = pairs and sum(len(k[1::2]) for *_, k in numeric) * count <= room
        return cls(tuple(numeric), tuple(labels), pairs, hinges, clusters)

    def matrix(self, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, n: int) -> np.ndarray:
        """Values of the basis, shape (n, term); columns and cluster ``(n,)``."""
        plain = [np.clip((columns[name] - location) / sd, *ends) for name, location, sd, ends, _ in self.numeric]
        labels = [(columns[name] == code).astype(float) for name, code in self.labels]
        plain += labels
        terms = [np.ones(n), *plain]
        for (*_, knots), z in zip(self.numeric, plain, strict=False):
            terms += [np.maximum(z - k, 0.0) for k in knots]
        if self.pairs:
            terms += [plain[i] * plain[j] for i in range(len(plain)) for j in range(i)]
        if self.hinges:
            hinges = [np.maximum(plain[i] - k, 0.0) for i, (*_, knots) in enumerate(self.numeric) for k in knots[1::2]]
            terms += [h * p for h in hinges for p in plain]
        for c in range(self.clusters):  # all of them: one never seen is then at their average
            here = (cluster == c).astype(float)
            terms += [here, *(here * label for label in labels)]
        return np.stack(terms, axis=1)


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression of many targets on one design, factored once; the penalty is chosen by generalised cross-validation.

    Attributes
    ----------
    left : array, shape (n, rank)
    singular : array, shape (rank,)
    right : array, shape (rank, term)
    """

    left: np.ndarray
    singular: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray) -> "Ridge":
        """Factor a design ``(n, term)``."""
        return cls(*np.linalg.svd(design, full_matrices=False))

    def fit(self, targets: np.ndarray) -> tuple[np.ndarray, float]:
        """Coefficients ``(term, target)`` of targets ``(n, target)``, and the penalty chosen for all of them together."""
        s, projected = self.singular, self.left.T @ targets
        squares = (projected**2).sum(axis=1)
        n, total = len(self.left), np.einsum("nt,nt->", targets, targets)
        best, chosen = np.inf, 0.0
        for penalty in s[0] ** 2 * np.logspace(-12, -1, 23):
            shrink = s**2 / (s**2 + penalty)
            score = (total - ((2 * shrink - shrink**2) * squares).sum()) / max(n - shrink.sum(), 1.0) ** 2
            if score < best:
                best, chosen = score, float(penalty)
        return self.right.T @ ((s / (s**2 + chosen))[:, None] * projected), chosen

    def errors(
        self, targets: np.ndarray, coefficients: np.ndarray, design: np.ndarray, penalty: float, simulated: bool
    ) -> tuple[float, np.ndarray]:
        """How far the fit of the targets' average may be off: misfit of the basis, and the part that simulation adds.

        Left-out residuals of the averaged target hold both; what each target's residuals say about an average of so many
        tells the second apart. Of a single target that was simulated they are taken for noise.

        Returns
        -------
        float
            SD of the misfit, which more simulations would not lessen.
        array, shape (term, rank)
            Root of the coefficients' covariance by simulation: ``phi @ root`` has the squared length of a fitted value's variance.
        """
        s = self.singular
        lever = (self.left**2 * (s**2 / (s**2 + penalty))).sum(axis=1)
        residual = targets - design @ coefficients
        draws = targets.shape[1]
        keep = np.maximum(1.0 - lever, 1e-3)
        out = float(((residual.mean(axis=1) / keep) ** 2).mean())
        noise = 0.0 if not simulated else float((residual.var(axis=1, ddof=1) / keep).mean() / draws) if draws > 1 else out
        return float(np.sqrt(max(out - noise, 0.0))), np.sqrt(noise) * self.right.T * (s / (s**2 + penalty))
