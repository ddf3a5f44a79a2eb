"""Recursive nested Monte Carlo beside `optimize` and `recommend`: ``python nested.py PATIENTS DRAWS INNER`` prints seconds a patient and errors.

For each posterior draw the value of an option is the mean over simulated responses of the best value found for each of them in the same way,
down to the last decision (the scheme of the R package BayesRegDTR). Here the models are looked up in tables worked out beforehand, which is
not counted, so that the rival pays for its simulation alone. Errors are those of each draw's own first-decision values, against
enumeration and a fine grid.
"""

import json
import sys
import time
from itertools import product

import numpy as np
from decisions import OPTIONS, STUDY, due, patients, posterior_of, timed

import bayesdtr as dtr
from bayesdtr.decision.values import thin_to
from bayesdtr.decision.world import Rows, World

SIZE = len(OPTIONS)
TRIED = 3
"""Patients whose values are compared."""
SOME = 20
"""Draws that they are compared under."""
WEIGHT = dict(STUDY.utility.weights)


def tables(world: World, age: float, severity: float) -> dict[str, np.ndarray]:
    """All that the models say of one patient: by draw and by options and binary response so far."""
    cells = np.array(list(product(range(SIZE), (0, 1), range(SIZE), range(SIZE))))
    n, size = len(cells), world.size
    columns = {"age": np.full(n, age), "severity": np.full(n, severity), "first": cells[:, 0], "improved": cells[:, 1].astype(float)}
    columns |= {"second": cells[:, 2], "third": cells[:, 3], "score": np.zeros(n)}
    rows, unit = Rows(columns, None, n), world.scales["score"].sd
    shape = (size, SIZE, 2, SIZE, SIZE)
    moments = world.look("score", rows, "moments").reshape(*shape, 2)[:, :, :, :, 0]
    level = world.look("outcome", rows, "mean").reshape(shape)
    slope = (world.look("outcome", rows.put("score", np.full(n, unit)), "mean").reshape(shape) - level) / unit
    return {"p": world.look("improved", rows, "mean").reshape(shape)[:, :, 0, 0, 0], "mu": moments[..., 0], "sd": moments[..., 1], "level": level,
            "slope": slope}


def nested(t: dict[str, np.ndarray], b: int, inner: int, rng: np.random.Generator) -> np.ndarray:
    """Values of the first options under one draw by recursive nested Monte Carlo, shape (option,)."""
    p, mu, sd, level, slope = (t[n][b] for n in ("p", "mu", "sd", "level", "slope"))
    improved = (rng.random((SIZE, inner)) < p[:, None]).astype(int)
    first = np.arange(SIZE)[:, None]
    centre, width = mu[first, improved], sd[first, improved]  # (first, inner, second)
    score = centre[..., None] + width[..., None] * rng.normal(size=(*centre.shape, inner))
    last = level[first, improved][..., None, :] + slope[first, improved][..., None, :] * score[..., None]
    second = (WEIGHT["score"] * score + last.max(axis=-1)).mean(axis=-1)
    return second.max(axis=-1).mean(axis=-1)


def exact(t: dict[str, np.ndarray], b: int) -> np.ndarray:
    """The same by enumeration and a grid of 20,001 points."""
    z = np.linspace(-9, 9, 20_001)
    w = np.exp(-0.5 * z**2)
    w /= w.sum()
    found = np.zeros(SIZE)
    for a, r in product(range(SIZE), (0, 1)):
        best = -np.inf
        for s in range(SIZE):
            y = t["mu"][b, a, r, s] + t["sd"][b, a, r, s] * z
            lines = t["level"][b, a, r, s][:, None] + t["slope"][b, a, r, s][:, None] * y
            best = max(best, float(((WEIGHT["score"] * y + lines.max(axis=0)) * w).sum()))
        found[a] += (t["p"][b, a] if r else 1 - t["p"][b, a]) * best
    return found


def measure(n: int, draws: int, inner: list[int]) -> dict:
    """Seconds a patient of both, on the clock and of all processors, and root mean square errors."""
    posterior, new = posterior_of(n, draws), due(patients(n, 7))
    for _ in range(2):
        wall, cpu, regime = timed(lambda: dtr.optimize(posterior))
        for frame in new.values():
            w, c, _ = timed(lambda f=frame, r=regime: r.recommend(f))
            wall, cpu = wall + w, cpu + c
    fit = regime.fits["first"]
    world = thin_to(World.of(posterior), posterior, fit.committed.shape[2])
    index = np.linspace(0, world.size - 1, SOME).astype(int)
    people = patients(TRIED, 11)[["age", "severity"]].to_numpy()
    known = [tables(world, *person) for person in people]
    truth = np.array([[exact(t, b) for b in index] for t in known])
    ours = fit.tables(world, "first", {"age": people[:, 0], "severity": people[:, 1]}, None, TRIED)[2]
    found = {"patients": n, "draws": draws, "ours_s": wall / n, "ours_cpu_s": cpu / n, "ours_error": rms(np.moveaxis(ours[index], 0, 1) - truth)}
    rng, found["rivals"] = np.random.default_rng(3), []
    for size in inner:
        begin, used = time.perf_counter(), time.process_time()
        values = np.array([[nested(t, b, size, rng) for b in index] for t in known])
        each = draws / (TRIED * SOME)
        cpu_each = (time.process_time() - used) * each
        error = values - truth
        found["rivals"].append({"inner": size, "s": (time.perf_counter() - begin) * each, "cpu_s": cpu_each, "error": rms(error),
                                "bias": float(error.mean()), "ratio": cpu_each / found["ours_cpu_s"]})
    return found


def rms(x: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt((x**2).mean()))


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), [int(s) for s in sys.argv[3:]])))
