"""When simulated patients come, decide and are known."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from bayesdtr.errors import TrialError
from bayesdtr.simulators import codiacs_qol
from bayesdtr.trial.nature import (
    Calendar,
    Dropout,
    ExponentialDelay,
    PiecewiseAccrual,
    PoissonAccrual,
    QuantileDelay,
    Scenario,
    Steady,
    UniformDelay,
    bind,
)
from bayesdtr.trial.nature.laws import Law

STUDY = codiacs_qol.study()
SCENARIO = Scenario("flat", {"improved": 0.5, "y": Law(0, sd=1)})
MANY = np.arange(2000)


def schedule(calendar, size=50, replicates=MANY, seed=1):
    return calendar.schedule(STUDY, seed, replicates, size)


def test_steady_accrual_and_a_delay_are_exact():
    made = schedule(Calendar(delays=100), size=5, replicates=np.arange(2))
    assert made.enrolled.tolist() == [[1, 2, 3, 4, 5]] * 2
    assert made.answered[0, :, 0].tolist() == [101, 102, 103, 104, 105]
    assert made.decided[0, :, 1].tolist() == [101, 102, 103, 104, 105]
    assert made.answered[0, :, 1].tolist() == [201, 202, 203, 204, 205]


def test_the_default_is_one_patient_a_unit_known_at_once():
    made = schedule(Calendar(), size=3, replicates=np.arange(1))
    assert (made.answered == made.enrolled[..., None]).all() and (made.decided == made.enrolled[..., None]).all()


def test_poisson_gaps_are_exponential():
    enrolled = schedule(Calendar(PoissonAccrual(4), delays=6)).enrolled
    gaps = np.diff(enrolled, axis=1, prepend=0.0)
    assert (gaps > 0).all()
    assert stats.kstest(gaps[:, 7], stats.expon(scale=0.25).cdf).pvalue > 1e-4
    assert abs(gaps.mean() - 0.25) < 4 * 0.25 / math.sqrt(gaps.size)


def test_piecewise_rates_without_chance_are_inverted_exactly():
    # 2 a unit up to 3 (6 patients), nobody up to 5, then 4 a unit.
    made = schedule(Calendar(PiecewiseAccrual([(3, 2), (5, 0), (math.inf, 4)], poisson=False)), size=8, replicates=np.arange(1))
    assert made.enrolled[0].tolist() == [0.5, 1, 1.5, 2, 2.5, 3, 5.25, 5.5]


def test_piecewise_poisson_counts_have_the_right_mean_and_variance():
    enrolled = schedule(Calendar(PiecewiseAccrual([(3, 2), (math.inf, 4)])), size=100).enrolled
    for begin, end, mean in ((0, 3, 6), (3, 6, 12), (1, 4, 8)):
        count = ((enrolled > begin) & (enrolled <= end)).sum(axis=1)
        assert abs(count.mean() - mean) < 4 * math.sqrt(mean / len(count))
        assert abs(count.var() / mean - 1) < 4 * math.sqrt((2 + 1 / mean) / len(count))


@pytest.mark.parametrize(("delay", "law"), [(ExponentialDelay(2), stats.expon(scale=2)), (UniformDelay(1, 3), stats.uniform(1, 2)),
                                            (QuantileDelay(stats.gamma(2).ppf), stats.gamma(2))])
def test_random_delays_have_their_distribution(delay, law):
    made = schedule(Calendar(delays={"improved": delay}), size=3)
    taken = made.answered[:, 2, 0] - made.enrolled[:, 2]
    assert stats.kstest(taken, law.cdf).pvalue > 1e-4
    assert np.allclose(made.answered[:, :, 1], made.answered[:, :, 0])  # the second decision waits for the first response


def test_times_are_a_patients_own_whatever_the_batch_and_the_size():
    calendar = Calendar(PoissonAccrual(4), delays={"improved": UniformDelay(0, 2), "y": ExponentialDelay(1)})
    large = schedule(calendar, size=60)
    some = np.array([3, 1999, 64])
    small = schedule(calendar, size=60, replicates=some)
    assert (small.answered == large.answered[some]).all() and (small.decided == large.decided[some]).all()
    assert (schedule(calendar, size=20, replicates=some).answered == small.answered[:, :20]).all()


def test_dropout_by_rate_ends_follow_up_when_it_happens():
    nature = bind(STUDY, SCENARIO.with_dropout(Dropout(0.1)), 20, Calendar(delays={"improved": 2, "y": 5}))
    people, stays = nature.patients(1, MANY), bind(STUDY, SCENARIO, 20, Calendar(delays={"improved": 2, "y": 5})).patients(1, MANY)
    for j, due in ((0, 2), (1, 7)):
        here = np.isfinite(people.answered[:, :, j])
        assert abs(here.mean() - math.exp(-0.1 * due)) < 4 * 0.5 / math.sqrt(here.size)
        assert (people.answered[here, j] == stays.answered[here, j]).all()
    lost = np.isinf(people.answered[:, :, 1])
    assert (people.complete <= stays.complete).all() and (people.complete[~lost] == stays.complete[~lost]).all()
    assert (np.isinf(people.decided[:, :, 1]) == np.isinf(people.answered[:, :, 0])).all()
    assert np.isfinite(people.decided[:, :, 0]).all() and np.isfinite(people.complete).all()


def test_dropout_by_decision_is_known_when_the_responses_were_due():
    nature = bind(STUDY, SCENARIO.with_dropout(Dropout(probability={"first": 0.2, "second": 0.5})), 20, Calendar(delays={"improved": 2, "y": 5}))
    people = nature.patients(1, MANY)
    first, second = np.isinf(people.answered[:, :, 0]), np.isinf(people.answered[:, :, 1])
    assert abs(first.mean() - 0.2) < 4 * 0.4 / math.sqrt(first.size)
    assert abs(second.mean() - 0.6) < 4 * 0.49 / math.sqrt(first.size) and (second | ~first).all()
    wait = people.complete - people.enrolled
    assert np.allclose(wait[first], 2) and np.allclose(wait[~first], 7)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Calendar(delays={"improvd": 3}).check(STUDY), "did you mean 'improved'"),
    (lambda: Calendar(4), "write Steady(4)"),
    (lambda: Calendar(delays=-1), "at least 0"),
    (lambda: Steady(0), "above 0"),
    (lambda: PiecewiseAccrual([(3, 2), (2, 1)]), "increase"),
    (lambda: PiecewiseAccrual([(3, 2), (4, 0)]), "the last one above 0"),
    (lambda: QuantileDelay(lambda u: 1 - u), "increasing delays"),
    (lambda: UniformDelay(3, 2), "above the shortest"),
    (lambda: Dropout(), "exactly one"),
    (lambda: Dropout(probability={"frist": 0.1}).check(STUDY), "did you mean 'first'"),
])
def test_errors(make, words):
    with pytest.raises(TrialError, match=words.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_a_calendar_reads_and_is_plain_data():
    calendar = Calendar(PoissonAccrual(4), delays={"improved": 6})
    assert str(calendar) == "4 patients a month on average, at exponential intervals; improved known after 6 months"
    assert json.loads(json.dumps(calendar.description())) == calendar.description()
    again = Calendar(PoissonAccrual(4.0), delays={"improved": 6.0})
    assert calendar == again and hash(calendar) == hash(again)
