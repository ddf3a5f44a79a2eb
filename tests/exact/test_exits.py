"""Courses that end early: every number of optimize and compare against literal sums over paths, written out for one small study."""

import itertools

import known
import numpy as np
import pandas as pd
import pytest

from bayesdtr import Bernoulli, Categorical, DataError, Decision, Normal, Response, Saturated, Study, StudyError, Utility, compare, optimize, when
from bayesdtr.study.saturated import saturated_cells

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}


def study() -> Study:
    """Three decisions; who has r = 1 leaves before the second, who has s = 1 before the third; something is earned at every step."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): []}), Response("s", Bernoulli(), **CELLS),
        Decision("c", {when(s=0): ["m", "n"], when(s=1): []}), Response("u", Normal(), **CELLS),
        utility=Utility({"r": 1.3, "s": -0.4, "u": 1.0}, discount=0.9),
    )


def cohort(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(n):
        row = {"a": rng.choice(["p", "q"]), "r": int(rng.random() < 0.4), "b": None, "s": np.nan, "c": None, "u": np.nan}
        if row["r"] == 0:
            row |= {"b": rng.choice(["x", "y"]), "s": int(rng.random() < 0.5)}
            if row["s"] == 0:
                row |= {"c": rng.choice(["m", "n"]), "u": float(rng.normal())}
        rows.append(row)
    return pd.DataFrame(rows)


def cells(name: str) -> list[str]:
    response = study()[name]
    assert isinstance(response, Response)
    return list(saturated_cells(study(), response).labels)


def value(draws: dict, a: str, b: str, c: str) -> np.ndarray:
    """Value of one regime under each draw, path by path: r = 1 earns 1.3 and ends; s = 1 earns -.4 x .9 more and ends."""
    flat = {n: {p: v.reshape(-1, *v.shape[2:]) for p, v in d.items()} for n, d in draws.items()}
    r = flat["r"]["probability"][:, cells("r").index(a)]
    s = flat["s"]["probability"][:, cells("s").index(f"{a}, 0, {b}")]
    u = flat["u"]["mean"][:, cells("u").index(f"{a}, 0, {b}, 0, {c}")]
    return r * 1.3 + (1 - r) * (s * 0.9 * -0.4 + (1 - s) * 0.81 * u)


@pytest.fixture(scope="module")
def known_draws() -> dict:
    return known.random_cells(study(), seed=5)


@pytest.fixture(scope="module")
def posterior(known_draws):
    return known.posterior_with(study(), known_draws, cohort())


def test_infeasible_histories_have_no_cells():
    assert cells("s") == [f"{a}, 0, {b}" for a in "pq" for b in "xy"]
    assert len(cells("u")) == 8


def test_embedded_regimes_and_their_values(posterior, known_draws):
    found = compare(posterior)
    assert len(found.rows) == 8
    for row, (a, b, c) in zip(found.rows, itertools.product("pq", "xy", "mn"), strict=True):
        assert [o for branches in dict(row.rules.decisions).values() for _, o in branches] == [a, b, c]
        np.testing.assert_allclose(row.value.mean, value(known_draws, a, b, c).mean(), atol=1e-12)
    frame = cohort()
    follows = (frame.a == "p") & ((frame.r == 1) | ((frame.b == "x") & ((frame.s == 1) | (frame.c == "m"))))
    assert found.rows[0].patients == follows.sum()


def test_the_optimum_is_that_of_the_best_enumerated_regime(posterior, known_draws):
    """Decisions b and c may depend on everything before them, but with a and the exits given, nothing else varies.

    Posteriors of the responses are independent, so expectations before a decision are products of averages.
    """
    averages = {n: {p: v.mean(axis=(0, 1), keepdims=True) for p, v in d.items()} for n, d in known_draws.items()}
    best = max(itertools.product("pq", "xy", "mn"), key=lambda plan: value(averages, *plan).mean())
    regime = optimize(posterior)
    np.testing.assert_allclose(regime.value().mean, value(known_draws, *best).mean(), atol=1e-12)
    shown = regime.recommend(pd.DataFrame({"patient": [1]}), every_option=True)
    for option in "pq":
        rest = max(itertools.product("xy", "mn"), key=lambda plan: value(averages, option, *plan).mean())
        line = shown[shown.option == option].iloc[0]
        np.testing.assert_allclose(line.expected_utility, value(averages, option, *rest).mean(), atol=1e-12)
    every = np.stack([value(known_draws, *plan) for plan in itertools.product("pq", "xy", "mn")])
    clairvoyant = every.max(axis=0).mean()
    assert shown.regret.min() == pytest.approx(clairvoyant - value(known_draws, *best).mean(), abs=1e-10)


def test_regression_agrees_with_the_tree(posterior):
    tree, fitted = optimize(posterior).value(), optimize(posterior, method="regression").value()
    assert abs(tree.mean - fitted.mean) < 4 * tree.sd / np.sqrt(24) + 0.03  # 4,000 simulated patients a draw, shared by 24 draws


def test_who_has_left_gets_no_recommendation(posterior):
    new = pd.DataFrame({"a": ["p", "p", "q"], "r": [1, 0, 0], "b": [None, None, "x"], "s": [np.nan, np.nan, 1]})
    shown = optimize(posterior).recommend(new)
    assert shown.patient.tolist() == ["2"] and shown.decision.tolist() == ["b"]


def test_words_leave_the_exit_out(posterior):
    regime = optimize(posterior)
    assert any("the course ends" in line for line in str(posterior.study).splitlines())
    assert all("r = 1" not in line for line in regime.rules())
    assert {dict(c.history)["r"] for c in regime.cells() if c.decision == "b"} == {"0"}
    assert "The course of" in " ".join(posterior.trajectories.notes)


@pytest.mark.parametrize(("column", "cell", "message"), [
    ("b", "x", "the course ends under r = 1 .* no option can be received, got 'x'"),
    ("s", 0, "the course ends under r = 1 .* 's', which comes later, is observed"),
])
def test_nothing_happens_after_the_end(column, cell, message):
    frame = cohort()
    frame.loc[int(np.flatnonzero(frame.r == 1)[0]), column] = cell
    with pytest.raises(DataError, match=message):
        known.read(study(), frame)


def test_declarations_that_end_everything_are_refused():
    with pytest.raises(StudyError, match="no condition has any options"):
        Decision("b", {when(r=0): [], when(r=1): []})
    with pytest.raises(StudyError, match="cannot end before the first decision"):
        from bayesdtr import Baseline

        Study(Baseline("sex", levels=["f", "m"]), Decision("a", {when(sex="f"): ["p", "q"], when(sex="m"): []}), Response("y", Normal()), utility="y")


def test_exits_by_kind():
    """Exits on a labelled response; a written regime names nothing for those who left."""
    s = Study(
        Decision("a", ["p", "q"]), Response("kind", Categorical(["well", "ill", "dead"])),
        Decision("b", {when(kind="well"): ["stay"], when(kind="ill"): ["x", "y"], when(kind="dead"): []}), Response("u", Normal()),
        utility="u", reference={"a": "p", "b": "x"},
    )
    assert [r.label for r in s.embedded()] == ["p; x if kind = ill", "p; y if kind = ill", "q; x if kind = ill", "q; y if kind = ill"]
    history = {"a": np.zeros(3, dtype=int), "kind": np.array([0.0, 1.0, 2.0])}
    assert s.reference is not None
    assert s.reference.option(s, "b", history).tolist() == [0, 1, -1]
