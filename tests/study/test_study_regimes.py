"""Embedded regimes, rules a person writes, the default predictor, and what is printed."""

import itertools

import numpy as np
import pytest

from bayesdtr.errors import StudyError
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    Decision,
    Normal,
    Prior,
    Response,
    Rules,
    Saturated,
    Study,
    Utility,
    at_least,
    below,
    one_of,
    when,
    written,
)
from bayesdtr.study.predictor import contrast_matrix, default_predictor
from bayesdtr.study.saturated import saturated_cells
from bayesdtr.study.timeline import finite_values


def paths(study, rule):
    """Every discrete history a rule leads through, as (decision, option or -1, whether feasible)."""
    def walk(nodes, history):
        if not nodes:
            yield tuple(history.items())
            return
        node, *rest = nodes
        if isinstance(node, Decision):
            columns = {k: np.array([v]) for k, v in history.items()} or {"": np.zeros(1)}
            option = int(rule.option(study, node.name, columns)[0])
            assert option >= 0, f"no option for {history}"
            assert study.feasible(node.name, columns)[0, option], f"{node.options[option]} is not feasible after {history}"
            yield from walk(rest, history | {node.name: option})
        else:
            values = finite_values(node) or (0,)
            for value in values:
                yield from walk(rest, history | {node.name: study.code(node.name, value)})

    return frozenset(walk(list(study.timeline), {}))


def tailored_to_the_past():
    return Study(
        Decision("first", ["a", "b"]), Response("r1", Bernoulli()),
        Decision("second", {when(first="a", r1=0): ["c", "d"], when(first="b", r1=0): ["e", "f", "g"], when(r1=1): ["stay"]}),
        Response("r2", Bernoulli()),
        Decision("third", {when(second="stay"): ["stop"], when(second=one_of("c", "d", "e", "f", "g"), r2=0): ["h", "i"],
                           when(second=one_of("c", "d", "e", "f", "g"), r2=1): ["stop"]}),
        Response("y", Normal()), utility="y",
    )


def test_eight_regimes_of_codiacs(codiacs):
    regimes = codiacs.embedded()
    assert [r.label for r in regimes[:4]] == ["medication; stay", "medication; stay if O2 = 0, switch if O2 = 1",
                                              "medication; switch if O2 = 0, stay if O2 = 1", "medication; switch"]
    assert len(regimes) == len({paths(codiacs, r) for r in regimes}) == 8


def test_24_regimes_of_the_design_page(three_stages):
    regimes = three_stages.embedded()
    assert len(regimes) == len({paths(three_stages, r) for r in regimes}) == 24
    assert regimes[0].lines() == ["first: a", "second: if r1 = 0, d", "third: f"]


def test_regimes_of_conditions_on_the_past():
    study = tailored_to_the_past()
    regimes = study.embedded()
    assert len(regimes) == len({paths(study, r) for r in regimes}) == 2 * 2 + 3 * 2  # second options after a, or after b, times the third's two


def test_tailoring_to_nothing_to_more_and_to_a_condition():
    def study(**more):
        return Study(Baseline("sex", levels=["f", "m"]), Decision("a", ["x", "y"]), Response("r", Bernoulli()), Decision("b", ["u", "v"], **more),
                     Response("y", Normal()), utility="y")

    assert [len(study(tailoring=t).embedded()) for t in ([], ["r"], ["sex", "r"])] == [4, 8, 32] and len(study().embedded()) == 8
    cut = Study(Baseline("x"), Decision("a", {when(x=below(3)): ["u", "v"], when(x=at_least(3)): ["w", "z"]}), Response("y", Normal()), utility="y")
    assert [r.label for r in cut.embedded()] == [f"{low} if x < 3, {high} if x >= 3" for low in "uv" for high in "wz"]


def test_a_single_option_adds_no_regime():
    study = Study(Decision("a", ["only"]), Response("r", Bernoulli()), Decision("b", ["u", "v"], tailoring=[]), Response("y", Normal()), utility="y")
    assert len(study.embedded()) == 2


def test_too_many_regimes():
    responses = [Response(f"r{i}", Bernoulli()) for i in range(4)]
    study = Study(Decision("a", ["x", "y"]), *responses, Decision("b", ["u", "v"]), Response("y", Normal()), utility="y")
    with pytest.raises(StudyError, match=r"more than 4096 embedded regimes; name fewer tailoring variables, for example Decision\('b'"):
        study.embedded()
    assert "Embedded regimes (too many)" in str(study)


def test_written_rules(rich):
    rule = written(rich, {"drug": "b", "next": {when(harm=0, bp=below(130)): "stay", when(harm=0): "more"}})
    history = {"sbp": np.array([150.0, 120.0, 150.0]), "bp": np.array([120.0, 140.0, 150.0]), "harm": np.array([0.0, 0.0, 1.0])}
    assert rule.option(rich, "drug", history).tolist() == [1, 2, 1]  # the single feasible option wins over the rule
    assert rule.option(rich, "next", history).tolist() == [1, 2, 0]  # the first condition that holds
    assert rich.reference.label == "a if sbp >= 140; stay if harm = 0" and isinstance(rich.reference, Rules)
    assert str(rule) == "b; stay if harm = 0 and bp < 130, more if harm = 0"
    with pytest.raises(StudyError, match=r"at decision 'next' it names no option for .*bp = 130, harm = 0"):
        written(rich, {"drug": "a", "next": {when(harm=0, bp=below(130)): "stay"}})


def test_a_decision_without_any_choice_may_be_left_out():
    study = Study(Decision("a", ["only"]), Response("r", Bernoulli()), Decision("b", ["u", "v"]), Response("y", Normal()), utility="y")
    assert written(study, {"b": "u"}).lines() == ["b: u"]


# ---- the predictor ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 9))
def test_contrasts_are_orthonormal_and_sum_to_zero(n):
    matrix = contrast_matrix(n)
    assert matrix.shape == (n, n - 1)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(n - 1), atol=1e-14)
    np.testing.assert_allclose(matrix.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(n) - 1 / n, atol=1e-14)  # so option effects are exchangeable


def labels(columns):
    return [c.label for c in columns]


def test_the_default_predictor(three_stages):
    p = default_predictor(three_stages, three_stages["y"])
    assert labels(p.main) == ["r1", "r2"]
    assert labels(p.treatment) == ["first[b vs a]", "first[c vs a, b]", "second[e vs d]", "third[g vs f]"]
    assert "second[e vs d] × r1" not in labels(p.interaction)  # r1 is 0 wherever that choice exists
    assert {"second[e vs d] × r2", "first[b vs a] × r1"} <= set(labels(p.interaction))
    assert labels(p.combination) == [f"{n}[{o}] × first[{f}]" for n, o in (("second", "e vs d"), ("third", "g vs f")) for f in ("b vs a", "c vs a, b")
                                     ] + ["third[g vs f] × second[e vs d]"]
    assert not any("stay" in label for label in labels(p.main + p.treatment + p.interaction + p.combination))
    assert labels(p.latest) == ["third[g vs f]"]


def test_a_threshold_adds_its_own_level(rich):
    assert labels(default_predictor(rich, rich["bp"]).main) == ["sbp", "sex[male vs female]", "[sbp < 140]"]


def test_saturated_cells():
    study = tailored_to_the_past()
    parts = [Response("y", Normal(), model=Saturated()) if n.name == "y" else n for n in study.timeline]
    study = Study(*parts, utility="y")
    cells = saturated_cells(study, study["y"])
    by_hand = set()
    for first, r1, r2 in itertools.product("ab", (0, 1), (0, 1)):
        for second in ["stay"] if r1 else {"a": "cd", "b": "efg"}[first]:
            by_hand |= {", ".join((first, str(r1), second, str(r2), third)) for third in (["h", "i"] if second != "stay" and not r2 else ["stop"])}
    assert set(cells.labels) == by_hand and len(cells.labels) == len(by_hand)
    assert sorted(cells.lookup[cells.lookup >= 0]) == list(range(len(by_hand)))


# ---- what is printed -------------------------------------------------------------------------------


def test_printing_says_everything(rich):
    text = str(rich)
    assert max(map(len, text.splitlines())) <= 100
    for part in ("sbp: a number", "sex: one of female, male", "decision 1  drug (randomized, a 0.25, b 0.75)", "if sbp >= 140: a | b",
                 "next (observed, not randomized)", "response  harm: Bernoulli (0, 1)", "utility: qol - 2 harm, discounted by 0.9 per decision",
                 "differences below 0.5 do not matter", "clusters: site, partially pooled", "reference regime: a if sbp >= 140; stay if harm = 0",
                 "death: Counted as the worst",
                 "HalfNormal(2)  [user] earlier trial", "HalfNormal(0.5) x sd(qol)", "Normal(0, 2.5) x sd(bp) around mean(bp)",
                 "relief ~ Bernoulli(probability[next, harm])", "one parameter for each of 3 cells", "Embedded regimes ("):
        assert part in text, part


def test_every_prior_in_force_is_printed(rich):
    flat = " ".join(str(rich).split())
    for response in rich.responses:
        for address, row in rich.priors(response.name).items():
            assert f"{response.name}.{address} {row.text} [{row.source}]" in flat
    assert rich.priors("bp")["tau"].source == "user" and not rich.priors("bp")["tau"].sd_units
    assert rich.priors("bp")["beta"].source == "default" and "cluster_sd" in rich.priors("bp") and "sigma" not in rich.priors("harm")


def test_long_names_stay_within_the_width():
    options = [f"a rather long option number {i}" for i in range(12)]
    names = [f"a response with a long name {i}" for i in range(5)]
    study = Study(Decision("an even longer name of a decision", options), *(Response(n, Normal()) for n in names),
                  utility=Utility(dict.fromkeys(names, 0.25)), cluster="a column of sites with a very long name " * 2)
    assert max(map(len, str(study).splitlines())) <= 100


def test_twelve_regimes_are_shown(three_stages):
    text = str(three_stages)
    assert "Embedded regimes (24)" in text and "... and 12 more" in text


def named_model(history):
    """A user's model."""


def test_a_users_model_is_printed_with_its_address():
    text = str(Study(Decision("a", ["x", "y"]), Response("y", model=named_model), utility="y"))
    assert ":named_model (user-written PyMC model, source hash" in " ".join(text.split()) and "y: priors stand in the model function" in text


def test_a_users_prior_is_on_the_responses_own_scale():
    study = Study(Decision("a", ["x", "y"]), Response("y", Normal(), priors={"sigma": Prior("Exponential", rate=2)}), utility="y")
    row = study.priors("y")["sigma"]
    assert (row.text, row.source, row.reason) == ("Exponential(2)", "user", "as declared")
