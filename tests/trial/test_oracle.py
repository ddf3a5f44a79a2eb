"""The forward recursion gives the reference rows to the printed digits."""

import pytest
import reference_rows as rows
from oracle import Sequential, group_sequential, second_better, thompson
from scipy import integrate, stats


@pytest.mark.parametrize(("n1", "s1", "n2", "s2"), [(0, 0, 0, 0), (3, 1, 5, 4), (20, 0, 4, 4), (30, 12, 25, 9), (7, 7, 9, 0)])
def test_the_probability_that_the_second_arm_is_better(n1, s1, n2, s2):
    first, second = stats.beta(1 + s1, 1 + n1 - s1), stats.beta(1 + s2, 1 + n2 - s2)
    wanted = integrate.quad(lambda x: second.pdf(x) * first.cdf(x), 0, 1, epsabs=1e-12)[0]
    assert second_better(n1, n2)[s1, s2] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("truth", "power", "rule", "row"), rows.SMALL)
def test_forty_patients(truth, power, rule, row):
    allocation = None if power is None else thompson(power, 40, 0.1, rule)
    assert Sequential(*truth, 40, allocation, 0 if power is None else 10).small_trial_row() == pytest.approx(row, abs=6e-7)


@pytest.mark.parametrize(("power", "null", "alternative", "successes"), rows.SEQUENTIAL)
def test_fully_sequential(power, null, alternative, successes):
    allocation = None if power is None else thompson(power, 148)
    one, two = (Sequential(0.3, p, 148, allocation) for p in (0.3, 0.5))
    assert one.rejects() == pytest.approx(null, abs=6e-6 if power is None else 6e-7)
    assert two.rejects() == pytest.approx(alternative, abs=6e-6 if power is None else 6e-7)
    assert two.successes() == pytest.approx(successes, abs=6e-5)


@pytest.mark.parametrize(("truth", "power", "rule", "row"), [rows.GROUPS[3], *(pytest.param(*r, marks=pytest.mark.slow) for r in rows.GROUPS[:3]),
                                                           *(pytest.param(*r, marks=pytest.mark.slow) for r in rows.GROUPS[4:])])
def test_group_sequential(truth, power, rule, row):
    found = group_sequential(*truth, None if power is None else thompson(power, 200, 0.1, rule))
    assert (found["upper"], found["patients"]) == pytest.approx(row[:2], abs=6e-5) and found["upper"] == pytest.approx(row[0], abs=6e-7)
    if row[2] is not None:
        # The printed share is that of the better arm, the second.
        assert 1 - found["in_first"] / found["patients"] == pytest.approx(row[2], abs=6e-6)
