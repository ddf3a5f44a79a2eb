"""Honest values: no patient is judged by a rule learned from them; arguments and data that cannot be judged are refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.data import read
from bayesdtr.evaluate.honest import FIRST, Part, combined, judged, lessons_of
from bayesdtr.reporting import summary
from bayesdtr.simulators import chakraborty

N = 120
BY_DESIGN = "by the design's assignment probabilities"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return chakraborty.simulate(N, seed=3, example="A")


@pytest.fixture(scope="module")
def found(frame) -> dtr.HonestValue:
    return dtr.honest_value(chakraborty.study(), frame, seed=1, progress=False)


@pytest.mark.parametrize(("n", "blocks", "pending"), [(120, 10, 0), (57, 7, 5), (23, 3, 2)])
def test_nobody_is_judged_by_a_rule_learned_from_them(n, blocks, pending):
    orders = [np.random.default_rng(s).permutation(n) for s in range(3)]
    training, asked = lessons_of(orders, blocks, pending)
    per_order = blocks - FIRST
    assert len(training) == len(asked) == 3 * per_order
    for s, order in enumerate(orders):
        place = np.argsort(order)
        seen = np.concatenate(asked[s * per_order : (s + 1) * per_order])
        assert len(np.unique(seen)) == len(seen) == n - (FIRST * n) // blocks
        for rows, block in zip(training[s * per_order : (s + 1) * per_order], asked[s * per_order : (s + 1) * per_order], strict=True):
            assert place[rows].max() < place[block].min() - pending


def test_later_outcomes_do_not_change_earlier_scores(frame):
    """The outcomes of the last block are replaced: scores of all blocks before are the same to the last bit."""
    study, orders = chakraborty.study(), [np.arange(N)]
    other = frame.copy()
    other.loc[N - N // 10 :, "y"] += 100.0
    scored = []
    for data in (frame, other):
        t = read(study, data)
        training, asked = lessons_of(orders, 10, 0)
        scored.append(list(judged(study, t, training, asked, [dict(t.assignment)] * len(asked), "laplace", 1, False)))
    for one, two in zip(scored[0][:-1], scored[1][:-1], strict=True):
        np.testing.assert_array_equal(one.score, two.score)
    assert not np.allclose(scored[0][-1].score, scored[1][-1].score)


def test_blocks_are_averaged_in_inverse_proportion_to_their_spread():
    rng = np.random.default_rng(1)
    parts = [Part(None, np.arange(10 * i, 10 * i + 10), rng.normal(i, 1, 10), np.ones(10), s, True) for i, s in enumerate((1.0, 2.0, 0.0))]
    value, error, followers = combined(parts, None)
    w = np.repeat(1 / np.array([1.0, 2.0, 1.0]), 10)  # a block without spread counts with the average of the three
    y = np.concatenate([p.score for p in parts])
    assert value == pytest.approx((w * y).sum() / w.sum(), abs=1e-12)
    assert error == pytest.approx(np.sqrt((w**2 * (y - value) ** 2).sum()) / w.sum(), abs=1e-12)
    assert followers == 30
    alone = combined(parts, np.arange(30))
    assert alone == pytest.approx((value, error, followers), abs=1e-12)  # clusters of one patient change nothing
    paired = combined([dataclasses.replace(p, score=np.repeat(p.score[::2], 2)) for p in parts], np.arange(30) // 2)
    single = combined([dataclasses.replace(p, score=p.score[::2], patients=p.patients[::2], weight=p.weight[::2]) for p in parts], None)
    assert paired[:2] == pytest.approx(single[:2], abs=1e-12)  # a patient entered twice in a cluster counts once


def test_what_is_said(found):
    assert found.scored == N - 2 * N // 10 and len(found.values) == 20
    assert abs(found.mean - chakraborty.truth("A").optimal.value) < 4 * found.se
    assert found.mean == pytest.approx(found.values.mean()) and found.lower < found.mean < found.upper
    assert found.spread < 1.5 * found.se
    assert found.basis == BY_DESIGN and found.largest_weight == pytest.approx(4.0)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    text = " ".join(text.split())
    assert BY_DESIGN in text and "96 later ones" in text
    assert not found.reliable and "Unreliable" in text  # a fourth of 96 patients follow


def test_the_same_seed_gives_the_same_value(frame, found):
    again = dtr.honest_value(chakraborty.study(), frame, seed=1, progress=False)
    np.testing.assert_array_equal(again.values, found.values)


def test_a_column_of_probabilities_means_the_order_of_enrolment(frame):
    """Probabilities in a column may follow earlier outcomes, so that the rows count as the order of enrolment."""
    study = chakraborty.study()
    by_column = dtr.Study(
        dtr.Baseline("o1"), dtr.Decision("first", chakraborty.OPTIONS, probability="p"), *study.timeline[2:], utility="y")
    one = dtr.honest_value(by_column, frame.assign(p=0.5), seed=1, progress=False)
    same = dtr.honest_value(study, frame, seed=1, shuffles=0, progress=False)
    assert len(one.values) == 1 and np.isnan(one.spread)
    assert one.mean == pytest.approx(same.mean, abs=1e-9) and one.se == pytest.approx(same.se, abs=1e-9)
    assert "one order" in str(one)


def test_propensities_are_estimated_where_nobody_randomized():
    """Confounded choices: the estimated propensities come near the true ones, and the value says that it rests on them."""
    rng = np.random.default_rng(5)
    n = 300
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-x))
    a = rng.random(n) < p
    y = x + np.where(a, 0.5, 0.0) + rng.normal(size=n)
    study = dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["no", "yes"], assigned="observed"), dtr.Response("y", dtr.Normal()), utility="y")
    frame = pd.DataFrame({"x": x, "a": np.where(a, "yes", "no"), "y": y})
    value = dtr.honest_value(study, frame, seed=1, shuffles=2, progress=False)
    assert value.estimated == ("a",) and value.basis == "doubly robust (estimated propensity of 'a')"
    assert "analyst's claim" in " ".join(str(value).split())
    assert abs(value.mean - 0.5) < 4 * value.se
    from bayesdtr.evaluate.propensity import estimated

    everybody = np.arange(n)
    (got,) = estimated(study, read(study, frame), [everybody], [everybody], "a", 1)
    true = np.where(a, p, 1 - p)
    assert np.abs(got - true).mean() < 0.06  # a logistic slope of 1 is known to about .15 from 300 patients


@pytest.mark.parametrize(
    ("how", "change", "words"),
    [
        ({}, lambda f: f.assign(y=f["y"].where(f.index > 3)), "4 of 120 patients were not followed to the end"),
        ({"blocks": 2}, lambda f: f, "blocks must be a whole number of at least 3"),
        ({"shuffles": -1}, lambda f: f, "shuffles must be a whole number"),
        ({"pending": 3}, lambda f: f, "use it with shuffles=0"),
        ({"pending": 24, "shuffles": 0}, lambda f: f, "too few to learn from"),
        ({}, lambda f: f.head(19), "19 patients in 10 blocks"),
        ({"engine": "lapalce"}, lambda f: f, "honest_value: no engine 'lapalce'"),
    ],
)
def test_what_cannot_be_judged_is_refused(frame, how, change, words):
    with pytest.raises(dtr.BayesDTRError, match=words):
        dtr.honest_value(chakraborty.study(), change(frame), seed=1, progress=False, **how)


def test_rules_learned_along_the_way_heed_gates():
    study = dtr.Study(
        dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()), dtr.Decision("b", ["x", "y"]),
        dtr.Response("u", dtr.Normal(), model=dtr.Saturated(over=["a", "b"])), utility="u")
    rng, n = np.random.default_rng(1), 200
    a, b = rng.choice(["p", "q"], n), rng.choice(["x", "y"], n)
    frame = pd.DataFrame({"a": a, "r": rng.integers(0, 2, n), "b": b, "u": 1.0 * (b == "y") + rng.normal(0, 0.1, n)})

    def value(**how):
        return dtr.honest_value(study, frame, seed=1, shuffles=0, progress=False, **how)

    # Nothing is above such a limit: everybody gets the default at the last decision, whatever was learned.
    never = dtr.SafetyGate("u", below=10.0, probability=0.5)
    free, good, bad = value(), value(safety=never, default={"b": "y"}), value(safety=never, default={"b": "x"})
    assert free.mean == pytest.approx(1, abs=4 * free.se) and good.mean == pytest.approx(1, abs=4 * good.se)
    assert bad.mean == pytest.approx(0, abs=4 * bad.se) and bad.se < 0.1
    assert free.safety is None and bad.safety.gates == (never,) and "Every rule heeds safety gates" in str(bad) and "gates" not in str(free)
    assert value(safety=dtr.SafetyGate("u", below=-1e6, probability=0.5)).mean == free.mean  # it removes nothing
    regime = dtr.optimize(dtr.fit(study, frame, seed=1, engine="exact", draws=1000), safety=never, default={"b": "x"})
    with pytest.raises(dtr.DecisionError, match="under other safety gates"):
        summary(regime, honest_value=good)
    assert summary(regime, honest_value=bad)["honest_value"]["mean"] == bad.mean
    with pytest.raises(dtr.StudyError, match="give safety="):
        value(default={"b": "x"})
    with pytest.raises(dtr.DecisionError, match="no default is named"):
        value(safety=never)
