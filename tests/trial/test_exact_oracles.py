"""Simulated trials against exact operating characteristics: every row within 4 Monte Carlo standard errors at 20,000 replicates."""

import designs
import numpy as np
import pytest
import reference_rows as rows
from oracle import second_better, unpooled_z

import bayesdtr as dtr
from bayesdtr.trial.counting import applies, run

REPLICATES = 20_000


def simulated(made, replicates, seed=2027):
    design, scenario = made
    assert applies(design, scenario)
    out = run(design, scenario, np.arange(replicates), seed=seed)
    n1, n2 = out["allocated"].T.astype(int)
    yes = np.round((out["mean"] * (out["allocated"] + 2)) - 1).astype(int)
    return out, n1, yes[:, 0], n2, yes[:, 1]


def close(sample, wanted, what):
    """Within 4 SE of the larger of the sample's and, for probabilities, the wanted one's variance."""
    sample = np.asarray(sample, dtype=float)
    variance = max(sample.var(), wanted * (1 - wanted) if 0 < wanted < 1 else 0.0)
    assert abs(sample.mean() - wanted) <= 4 * np.sqrt(variance / len(sample)) + 1e-12, f"{what}: {sample.mean()} for {wanted}"


def rule(power, floor=0.0, floor_rule="affine"):
    return dtr.Equal() if power is None else dtr.Thompson(power, floor=floor, floor_rule=floor_rule)


def small(truth, power, floor_rule, row, replicates):
    looks, burn_in = ([40], 0) if power is None else (range(10, 41), 10)
    made = designs.two_arm(*truth, rule(power, 0.1, floor_rule or "affine"), 40, looks, burn_in, 2 if burn_in else None)
    out, n1, s1, n2, s2 = simulated(made, replicates)
    assert (n1 + n2 == 40).all() and (out["total"][:, 0] == s1 + s2).all()
    pp = np.array([second_better(a, b)[x, y] for a, x, b, y in zip(n1, s1, n2, s2, strict=True)])
    np.testing.assert_allclose(out["p_best"][:, 1], pp, atol=3e-8)
    samples = {"N2": n2, "successes": s1 + s2, "PP+": pp > 0.975, "PP-": pp < 0.025, "N1-N2": n1 - n2 >= 8}
    for (what, sample), wanted in zip(samples.items(), row, strict=True):
        close(sample, wanted, what)


def sequential(power, null, alternative, successes, replicates):
    for p, wanted in ((0.3, null), (0.5, alternative)):
        made = designs.two_arm(0.3, p, rule(power), 148, [148] if power is None else range(1, 149))
        _, *counts = simulated(made, replicates)
        close(unpooled_z(*counts) > 1.645, wanted, f"rejection at {p}")
        if p == 0.5:
            close(counts[1] + counts[3], successes, "successes")


def groups(truth, power, floor_rule, row, replicates):
    made = designs.two_arm(*truth, rule(power, 0.1, floor_rule or "affine"), 200, range(40, 201, 20), 40, 2, [dtr.Superiority(0.99)])
    out, _, _, n2, _ = simulated(made, replicates)
    stopped = out["stopped_by"] == 0
    close(stopped & (out["selected"] == 1), row[0], "superior")
    assert (out["declared"][stopped].argmax(axis=1) == out["selected"][stopped]).all()
    close(out["size"], row[1], "patients")
    if truth[0] == truth[1]:
        close(stopped & (out["selected"] == 0), row[0], "superior, the other side")
    if row[2] is not None:
        # A ratio of expectations: its error by the delta method is that of the differences.
        close((n2 - row[2] * out["size"]) / out["size"].mean() + row[2], row[2], "share of the better arm")


def test_small_trial_quickly():
    small(*rows.SMALL[6], 2_000)


def test_group_sequential_quickly():
    groups(*rows.GROUPS[3], 4_000)


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "power", "floor_rule", "row"), rows.SMALL)
def test_forty_patients(truth, power, floor_rule, row):
    small(truth, power, floor_rule, row, REPLICATES)


@pytest.mark.slow
@pytest.mark.parametrize(("power", "null", "alternative", "successes"), rows.SEQUENTIAL)
def test_fully_sequential(power, null, alternative, successes):
    sequential(power, null, alternative, successes, REPLICATES)


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "power", "floor_rule", "row"), rows.GROUPS)
def test_group_sequential(truth, power, floor_rule, row):
    groups(truth, power, floor_rule, row, REPLICATES)
