"""Options of the hierarchical model as declarations: formulas, their errors, the choice of a prior, printing."""

import pytest

from bayesdtr.errors import StudyError
from bayesdtr.study import Baseline, Bernoulli, Decision, Hierarchical, Normal, Prior, Response, Study, from_json, to_json, when
from bayesdtr.study.formula import Piece, parse
from bayesdtr.study.predictor import default_predictor, groups, sequence_variables
from bayesdtr.study.structures import interactions_of


def study(extra: int = 0, **options) -> Study:
    priors = options.pop("priors", None)
    return Study(
        Baseline("age"), Baseline("sex", levels=["f", "m"]), Baseline("body mass"), *(Baseline(f"x{i}") for i in range(extra)),
        Decision("first", ["a", "b"]), Response("r", Bernoulli()), Decision("second", {when(r=0): ["x", "y"], when(r=1): ["stay"]}),
        Response("y", Normal(), model=Hierarchical(**options), priors=priors), utility="y",
    )


def labels(columns) -> list[str]:
    return [c.label for c in columns]


@pytest.mark.parametrize(("text", "terms"), [
    ("age", ["age"]),
    ("age + C(sex) + age:C(sex)", ["age", "C(sex)", "age:C(sex)"]),
    ("age*C(sex)", ["age", "C(sex)", "age:C(sex)"]),
    ("(a + b) : (c + s(d))", ["a:c", "a:s(d)", "b:c", "b:s(d)"]),
    ("a*b*c", ["a", "b", "a:b", "c", "a:c", "b:c", "a:b:c"]),
    ("a + a + a:a", ["a"]),
    ("`body mass` + s(`body mass`)", ["`body mass`", "s(`body mass`)"]),
    ("größe", ["größe"]),
])
def test_formulas(text, terms):
    assert [":".join(map(str, t)) for t in parse(text, "here")] == terms


@pytest.mark.parametrize(("text", "message"), [
    ("", "is a formula"), (3, "is a formula"), ("age +", "a variable is missing"), ("age age", "'age' is out of place"),
    ("(age", "bracket is missing"),
    ("y ~ age", "response stands outside"), ("age - 1", "'-' is not allowed"), ("age + 1", "'1' is not allowed"), ("S(age)", "did you mean 's'"),
    ("log(age)", "no function 'log'"), ("s(age, 5)", "',' is not allowed"), ("s(age + sex)", "takes one variable"), ("C()", "a variable is missing"),
])
def test_formulas_that_are_none(text, message):
    with pytest.raises(StudyError, match=message):
        Hierarchical(covariates=text)


@pytest.mark.parametrize(("options", "message"), [
    ({"covariates": "agee"}, "did you mean 'age'"), ({"covariates": "C(age)"}, "declare 'age' with levels"),
    ({"covariates": "s(sex)"}, "has 2 values"),
    ({"covariates": "s(r)"}, "has 2 values"), ({"covariates": "first"}, "names the decision 'first'"), ({"modifiers": "y"}, "names 'y'"),
    ({"modifiers": "s(age):s(`body mass`)"}, "two smooth curves"), ({"interactions": "horse"}, "did you mean 'horseshoe'"),
    ({"interactions": "horseshoe", "relevant": 9}, r"below its number of interactions, 7"), ({"relevant": 0}, "above 0"),
    ({"patients": 2.5}, "whole number"), ({"sequences": 1}, "True or False"),
    ({"priors": {"local_interaction": Prior("HalfNormal", scale=1)}}, "no prior address 'local_interaction'"),
])
def test_declarations_that_are_refused(options, message):
    with pytest.raises(StudyError, match=message):
        study(**options)


def test_formulas_replace_covariates():
    p = default_predictor(study(covariates="age*C(sex)"), study()["y"])
    assert labels(p.main) == ["age", "sex[m vs f]", "body mass", "r"]  # the response handed in has no formula
    asked = study(covariates="age*C(sex)")
    p = default_predictor(asked, asked["y"])
    assert labels(p.main) == ["age", "sex[m vs f]", "age × sex[m vs f]", "r"]
    assert labels(p.interaction) == [f"first[b vs a] × {n}" for n in ("age", "sex[m vs f]", "r")] + [
        f"second[y vs x] × {n}" for n in ("age", "sex[m vs f]")]  # body mass has left, r is fixed within the second set
    assert labels(p.combination) == ["second[y vs x] × first[b vs a]"]  # with a scale of its own
    asked = study(covariates="age", modifiers="s(`body mass`) + age:r")
    p = default_predictor(asked, asked["y"])
    assert labels(p.interaction) == ["first[b vs a] × body mass", "first[b vs a] × age × r", "second[y vs x] × body mass"]
    assert len(p.interaction_smooth) == 2 * 23 and not p.smooth
    assert groups(p.interaction_smooth)[0] == ("first[a, b] × s(body mass)", "second[x, y] × s(body mass)")
    assert parse("C(sex)", "here") == ((Piece("sex", "C"),),)


def test_a_condition_on_a_variable_left_out_keeps_its_level():
    arms = {when(sex="f"): ["x", "y"], when(sex="m"): ["y", "z"]}
    for covariates, main in ((None, ["sex[m vs f]"]), ("age", ["age", "[sex = m]"])):
        asked = Study(*([Baseline("age")] if covariates else []), Baseline("sex", levels=["f", "m"]), Decision("arm", arms),
                      Response("y", Normal(), model=Hierarchical(covariates=covariates)), utility="y")
        assert labels(default_predictor(asked, asked["y"]).main) == main


@pytest.mark.parametrize(("extra", "kind"), [(0, "normal"), (4, "normal"), (5, "horseshoe")])
def test_the_automatic_prior(extra, kind):
    """Partners of decisions at 4: age, sex, body mass, four more, r; with 5 there are nine."""
    asked = study(extra, interactions="auto")
    assert interactions_of(asked, asked["y"]) == kind
    assert study(5)["y"].model == Hierarchical() and "local_interaction" not in study(5).priors("y")  # only when asked for


def test_the_horseshoe_scale():
    """p0 / (p - p0) / sqrt(n), in units of the response's SD; twice that on a logit."""
    asked = study(interactions="horseshoe", relevant=2, patients=100)
    assert asked.priors("y")["tau_interaction"].prior["scale"] == pytest.approx(2 / (7 - 2) / 10)
    logit = Study(*(Baseline(f"x{i}") for i in range(10)), Decision("a", ["u", "v"]),
                  Response("r", Bernoulli(), model=Hierarchical(interactions="horseshoe")), utility="r")
    assert logit.priors("r")["tau_interaction"].prior["scale"] == pytest.approx(3 / 7 * 2 / 300**0.5)


def test_printing_and_json():
    asked = study(covariates="age*C(sex) + s(`body mass`)", modifiers="s(age)", interactions="r2d2", sequences=True,
                  priors={"tau_sequence": Prior("HalfNormal", scale=2)})
    assert from_json(to_json(asked)) == asked
    assert sequence_variables(asked, asked["y"]) == ("first", "r", "second")
    text = str(asked)
    assert max(map(len, text.splitlines())) <= 98
    for line in ("+ smooth: s(body mass)", "+ interaction_smooth: first[b vs a] × (s(age))", "+ tau_interaction (R2D2): first[b vs a] × (age + r)",
                 "+ tau_combination: second[y vs x] × (first[b vs a])",
                 "+ tau_sequence: one effect for each of 6 sequences of first, r, second", "HalfNormal(2)  [user]", "Dirichlet(0.5)"):
        assert line in text
