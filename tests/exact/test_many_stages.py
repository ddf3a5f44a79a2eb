"""Four to six stages with continuous, binary and count responses: regression Monte Carlo against the optimum by dynamic programming."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from many_stages import KINDS, follow, optimum_of, study_of

import bayesdtr as dtr


def at_random(seed):
    rng = np.random.default_rng(seed)
    return lambda k, frame, *state: rng.integers(0, 2, len(frame))


def regret_of(kinds, fresh, **how):
    """Regret in SDs of the utility with its standard error, value against the optimum's, and the regime."""
    study, best = study_of(kinds), optimum_of(kinds)
    patients = follow(kinds, at_random(3), 1000, 5)[1]
    regime = dtr.optimize(dtr.fit(study, patients, seed=1, progress=False), **how)

    def recommended(k, frame, *state):
        return (regime.recommend(frame)["option"].to_numpy() == "yes").astype(int)

    mine = follow(kinds, recommended, fresh, 9)[0]
    optimal = follow(kinds, lambda k, frame, *state: best.option(k, *state), fresh, 9)[0]
    loss, sd = optimal - mine, optimal.std()
    return regime, loss.mean() / sd, loss.std() / sd / np.sqrt(fresh), mine, optimal


def test_the_dynamic_programme():
    """Its own value at a state is what following it earns, and no other rule earns more."""
    kinds, n = KINDS[:4], 200_000
    best = optimum_of(kinds)
    earned, frame = follow(kinds, lambda k, f, *state: best.option(k, *state), n, 1)
    place = np.interp(frame["x0"], np.linspace(-12, 12, 1201), best.q[0][:, 0, 0].max(axis=-1))
    assert abs(earned.mean() - place.mean()) < 4 * (earned - place).std() / np.sqrt(n)
    for other in (lambda k, f, *s: np.zeros(len(f), dtype=int), lambda k, f, *s: np.ones(len(f), dtype=int), at_random(2)):
        lost = earned - follow(kinds, other, n, 1)[0]
        assert lost.mean() > 10 * lost.std() / np.sqrt(n)


def test_four_stages():
    """Every decision but the last by regression."""
    regime, regret, error, mine, _ = regret_of(KINDS[:4], 2_000, method="regression")
    print(f"regret {regret:.1e} +- {error:.1e} SD", *regime.accuracy, sep="\n")
    assert regret < 2e-3 + 3 * error
    value = regime.value()
    assert abs(value.mean - mine.mean()) < 4 * np.hypot(mine.std() / np.sqrt(2_000), mine.std() / np.sqrt(1000))  # other patients
    first, last = regime.accuracy[0], regime.accuracy[-1]
    assert first.method == "regression Monte Carlo" and 0 < first.error < 0.05
    assert abs(first.gap) < 4 * mine.std() / np.sqrt(regime.value_draws.size * 4000) + 3 * first.error
    assert last.method == "enumeration" and last.error == 0


def six() -> dict:
    """Six stages, in a process of its own so that its peak memory can be read."""
    import resource
    import time

    begin = time.perf_counter()
    regime, regret, error, mine, optimal = regret_of(KINDS, 20_000)
    return {
        "seconds": time.perf_counter() - begin, "regret": regret, "error": error, "value": float(mine.mean()), "optimal": float(optimal.mean()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "accuracy": [str(a) for a in regime.accuracy],
    }


@pytest.mark.slow
def test_six_stages():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1))
    assert found["regret"] <= 1e-3 + 2 * found["error"] and found["error"] < 5e-4
    assert found["peak_mib"] < 2048


if __name__ == "__main__":
    print(json.dumps(six()))
