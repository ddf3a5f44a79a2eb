"""Stage-wise Q-learning in the nine two-stage examples: coverage of the first stage's main effect, with the published working models.

Conjugate reference priors (so that posterior means are least squares), nominal 95 % equal-tailed intervals; beside them the percentile
bootstrap, n out of n, of Q-learning by least squares.
"""

import sys

import numpy as np
from honest import SIGNS
from nonregular import trials, value_of

from bayesdtr.decision.stagewise.linear_q import LinearStage, linear_q
from bayesdtr.simulators import chakraborty

DRAWS = RESAMPLES = 1000
MODES = ("bml", "bml_committed", "mean", "mean_committed")
COLUMNS = (*MODES, "bootstrap")
MAIN = 2
"""Position of the first stage's main effect among its coefficients."""


def first_terms(o1: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Terms of the first working model ``1, O1, A1, O1 A1``; codes in, shape (..., 4)."""
    s1, a1 = SIGNS[o1], SIGNS[first]
    return np.stack([np.ones(s1.shape), s1, a1, s1 * a1], axis=-1)


def second_terms(o1: np.ndarray, first: np.ndarray, o2: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Terms of the second working model ``1, O1, A1, O1 A1, A2, O2 A2, A1 A2``, shape (..., 7)."""
    s2, a1, a2 = SIGNS[o2], SIGNS[first], SIGNS[second]
    return np.concatenate([first_terms(o1, first), np.stack([a2, s2 * a2, a1 * a2], axis=-1)], axis=-1)


def stages(columns: dict[str, np.ndarray]) -> list[LinearStage]:
    """One trial as linear stages."""
    o1, o2 = columns["o1"].astype(int), columns["o2"].astype(int)
    first, second, y = columns["first"], columns["second"], columns["y"]
    fixed = [np.full(len(y), option) for option in (0, 1)]
    return [
        LinearStage(np.stack([first_terms(o1, a) for a in fixed]), first, np.zeros(len(y))),
        LinearStage(np.stack([second_terms(o1, first, o2, a) for a in fixed]), second, y),
    ]


def bootstrap(columns: dict[str, np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """Main effect of the first stage by least squares in resampled trials, shape (resample,).

    All terms are functions of the 16 combinations of signs, so counts and sums in these suffice.
    """
    o1, o2 = columns["o1"].astype(int), columns["o2"].astype(int)
    cell, y = ((o1 * 2 + columns["first"]) * 2 + o2) * 2 + columns["second"], columns["y"]
    grid = np.stack(np.unravel_index(np.arange(16), (2, 2, 2, 2)))
    pick = np.random.default_rng([seed, 11]).integers(len(y), size=(resamples, len(y)))
    where = (cell[pick] + 16 * np.arange(resamples)[:, None]).ravel()
    count = np.bincount(where, minlength=16 * resamples).reshape(resamples, 16)
    total = np.bincount(where, weights=y[pick].ravel(), minlength=16 * resamples).reshape(resamples, 16)

    def solved(terms: np.ndarray, sums: np.ndarray) -> np.ndarray:
        gram = np.einsum("rc,cp,cq->rpq", count, terms, terms, optimize=True)
        return np.linalg.solve(gram, (sums @ terms)[..., None])[..., 0]

    beta = solved(second_terms(*grid), total)
    q = np.stack([beta @ second_terms(*grid[:3], np.full(16, option)).T for option in (0, 1)])
    return solved(first_terms(*grid[:2]), count * q.max(axis=0))[:, MAIN]


def run(example: str, sets: int, seed: int = 1, columns: tuple[str, ...] = COLUMNS) -> dict[str, np.ndarray]:
    """Mean and interval of the first stage's main effect in each trial, shape (set, 3), by method."""
    data = trials(example, sets, seed)
    found: dict[str, list[np.ndarray]] = {c: [] for c in columns}
    for i in range(sets):
        own = {n: v[i] for n, v in data.items()}
        for column in columns:
            if column == "bootstrap":
                draws = bootstrap(own, RESAMPLES, seed * 10_000 + i)
            else:
                draws = linear_q(stages(own), mode=column, size=DRAWS, seed=seed * 10_000 + i).coefficients[0][:, MAIN]
            found[column].append(np.array([draws.mean(), *np.quantile(draws, [0.025, 0.975])]))
    return {c: np.stack(v) for c, v in found.items()}


def curse(example: str, sets: int, seed: int = 1) -> dict[str, np.ndarray]:
    """The winner's curse: posterior values beside what they are values of, shape (set, 4): mean, interval, truth.

    "committed": value of the rule learned, against its true value; "clairvoyant": each draw's own optimum, against the optimal value.
    """
    data, best = trials(example, sets, seed), chakraborty.truth(example).optimal.value
    found: dict[str, list[np.ndarray]] = {"committed": [], "clairvoyant": []}
    starts = np.stack([first_terms(np.array([0, 1]), np.full(2, option)) for option in (0, 1)])  # [option, o1, term]
    grid = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)))
    for i in range(sets):
        own = {n: v[i] for n, v in data.items()}
        share = np.random.default_rng([seed, 12, i]).dirichlet(np.bincount(own["o1"].astype(int), minlength=2), DRAWS)
        for mode, name in (("mean_committed", "committed"), ("mean", "clairvoyant")):
            q = linear_q(stages(own), mode=mode, size=DRAWS, seed=seed * 10_000 + i)
            values = np.einsum("bp,aop->boa", q.coefficients[0], starts)
            if name == "clairvoyant":
                drawn, target = (share * values.max(axis=2)).sum(axis=1), best
            else:
                first = np.einsum("p,aop->oa", q.means[0], starts).argmax(axis=1)
                later = np.stack([second_terms(*grid, np.full(8, option)) @ q.means[1] for option in (0, 1)])
                drawn = (share * values[:, [0, 1], first]).sum(axis=1)
                target = value_of(example, first, later.argmax(axis=0).reshape(2, 2, 2))
            found[name].append(np.array([drawn.mean(), *np.quantile(drawn, [0.025, 0.975]), target]))
    return {n: np.stack(v) for n, v in found.items()}


def coverage(found: np.ndarray, truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(((found[:, 1] <= truth) & (truth <= found[:, 2])).mean())


def main(sets: int, examples: list[str]) -> None:
    """Print the table: coverage and bias by example and method."""
    print("example " + " ".join(f"{c:>22}" for c in COLUMNS), flush=True)
    for example in examples:
        truth = chakraborty.truth(example).details["psi10"]
        found = run(example, sets)
        print(f"{example:>7} " + " ".join(f"{coverage(found[c], truth):>13.3f} ({found[c][:, 0].mean() - truth:+.3f})" for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:] or list(chakraborty.EXAMPLES))
