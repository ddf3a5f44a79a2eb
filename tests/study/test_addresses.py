"""Dotted addresses: one argument, one coefficient, one decision's scale, one difference, one cell."""

import math

import pytest

from bayesdtr.errors import StudyError
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    Categorical,
    Commensurate,
    Decision,
    Hurdle,
    Normal,
    Poisson,
    Prior,
    Response,
    RobustMAP,
    Saturated,
    Study,
    Utility,
    from_json,
    to_json,
)

WIDE = Prior("Normal", loc=0, scale=7)
EARLIER = RobustMAP([0.1, 0.3], [0.1, 0.2], between=0.2, vague_sd=1)
COUNTS = RobustMAP.from_counts([4, 9], [10, 20], between=0.5)


def study(own, family=None, **more) -> Study:
    return Study(
        Baseline("age"), Baseline("sex", levels=["f", "m"]), Decision("first", ["a", "b"]), early(), Decision("second", ["c", "d", "e"]),
        Response("y", family or Normal(), priors=own), utility="y", **more,
    )


def early() -> Response:
    return Response("r", Bernoulli())


def table(priors, **more):
    return study(priors, **more).priors("y")


def test_one_argument_keeps_the_unit_of_the_default():
    row = table({"tau.scale": 0.3})["tau"]
    assert (row.prior, row.sd_units, row.source) == (Prior("HalfNormal", scale=0.3), True, "user") and row.text == "HalfNormal(0.3) x sd(y)"
    assert table({"intercept.scale": 1})["intercept"].text == "Normal(0, 1) x sd(y) around mean(y)"


def test_an_argument_of_a_users_prior_is_on_its_own_scale():
    for priors in ({"tau": Prior("Gamma", concentration=2, rate=1), "tau.rate": 4}, {"tau.rate": 4, "tau": Prior("Gamma", concentration=2, rate=1)}):
        row = table(priors)["tau"]
        assert row.prior == Prior("Gamma", concentration=2, rate=4) and not row.sd_units


def test_one_coefficient_and_the_rest():
    rows = table({"beta.age": WIDE, "beta.scale": 0.4, "beta.r.scale": 0.1})
    assert rows["beta.age"].prior == WIDE and not rows["beta.age"].sd_units
    assert rows["beta"].prior["scale"] == 0.4 and rows["beta.r"].prior["scale"] == 0.1 and rows["beta.r"].sd_units
    assert list(rows).index("beta.age") == list(rows).index("beta") + 1
    assert "beta.sex[m vs f]" in table({"beta.sex[m vs f]": WIDE})


def test_a_decision_with_a_scale_of_its_own():
    rows = table({"tau.second.scale": 0.1})
    assert rows["tau.second"].prior["scale"] == 0.1 and rows["tau"].prior["scale"] == 0.5
    both = table({"tau.second.scale": 0.1, "tau.first.scale": 0.2})
    assert "tau" not in both and {"tau.first", "tau.second"} <= set(both)
    one = table({"treatment.first[b vs a]": WIDE, "tau.second.scale": 0.1})
    assert "tau" not in one and "tau.first" not in one  # a scale that governs nothing is not sampled


def test_a_difference_is_stated_as_one():
    rows = table({"treatment.second[e vs c, d]": WIDE, "treatment.first[b vs a]": EARLIER})
    # An orthonormal contrast c puts the third of three options c * 2/sqrt(6) above, the others c/sqrt(6) below: 3/sqrt(6) = sqrt(3/2) apart.
    assert rows["treatment.second[e vs c, d]"].factor == pytest.approx(math.sqrt(3 / 2))
    assert rows["treatment.first[b vs a]"].factor == pytest.approx(math.sqrt(2)) and rows["treatment.first[b vs a]"].source == "borrowed"


def test_study_level_addresses_and_json():
    made = study({"beta.age": WIDE}, priors={"y.tau.scale": 0.3, "r.treatment.first[b vs a]": Commensurate(0.2, 0.1, between=0.3)})
    assert made == study({"beta.age": WIDE, "tau.scale": 0.3}, priors={"r.treatment.first[b vs a]": Commensurate(0.2, 0.1, between=0.3)})
    again = from_json(to_json(made))
    assert again == made and str(again) == str(made) and "y.beta.age" in str(made) and "[borrowed]" in str(made)
    cells = Study(Decision("a", ["x", "y"]), Response("r", Bernoulli(), model=Saturated(), priors={"probability.x": COUNTS}), utility="r")
    assert from_json(to_json(cells)) == cells and cells.priors("r")["probability.x"].prior == COUNTS


def test_the_part_for_zeros_has_addresses_too():
    made = study({"zero_beta.age.scale": 0.2, "zero_treatment.first[b vs a]": WIDE, "tau.first.scale": 1}, family=Hurdle(Poisson()))
    assert {"zero_beta.age", "zero_treatment.first[b vs a]", "tau.first", "zero_tau"} <= set(made.priors("y"))


@pytest.mark.parametrize(("priors", "message"), [
    ({"tau.scal": 1}, r"takes 'scale' and no 'scal'.*did you mean 'tau.scale'"),
    ({"tua.scale": 1}, r"no prior address 'tua.scale'.*did you mean 'tau.scale'"),
    ({"beta.agee": WIDE}, r"did you mean 'beta.age'"),
    ({"beta.agee.scale": 1}, r"no prior address 'beta.agee.scale'.*'beta.age'"),
    ({"tau.third": Prior("HalfNormal", scale=1)}, r"'tau.first', 'tau.second'"),
    ({"tau.scale": -1}, r"scale=-1"),
    ({"tau.scale": WIDE}, r"changes one argument of HalfNormal and takes a number"),
    ({"beta.age": 1}, r"priors\['beta.age'\] must be a Prior, got 1"),
    ({"beta.age": Prior("HalfNormal", scale=1)}, r"the prior of 'beta.age' must be one of 'Normal'"),
    ({"treatment.first[b vs a].scale": 1}, r"its default is Normal\(0, tau\)"),
    ({"beta": EARLIER}, r"speak of one coefficient.*'beta.age'"),
    ({"sigma": EARLIER}, r"does not belong at 'sigma'; that address takes a Prior"),
    ({"beta.age": COUNTS}, r"takes RobustMAP\(estimates"),
    ({"tau": Commensurate(0, 1, between=1)}, r"does not belong at 'tau'"),
])
def test_errors_name_what_is_allowed(priors, message):
    with pytest.raises(StudyError, match=message):
        study(priors)


def test_other_errors():
    with pytest.raises(StudyError, match=r"names 'z\.tau\.scale'; addresses begin with a response and a dot, responses: 'r', 'y'"):
        study({}, priors={"z.tau.scale": 1})
    with pytest.raises(StudyError, match="declared by Response 'y' too"):
        study({"tau.scale": 1}, priors={"y.tau.scale": 2})
    with pytest.raises(StudyError, match="several contrasts each"):
        Study(Baseline("age"), Decision("first", ["a", "b"]), Response("y", Categorical(["u", "v", "w"]), priors={"beta.age": EARLIER}),
              utility=Utility({"y": {"u": 0, "v": 1, "w": 2}}))
    cell = Response("s", Bernoulli(), model=Saturated(over=["first"]), priors={"probability.c": COUNTS})
    with pytest.raises(StudyError, match=r"'probability.a', 'probability.b'"):
        Study(Decision("first", ["a", "b"]), cell, utility="s")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: RobustMAP([], [], between=1, vague_sd=1), "estimates is a list with one number per earlier trial"),
    (lambda: RobustMAP([1.0], [1.0, 2.0], between=1, vague_sd=1), "1 estimates and 2 standard_errors"),
    (lambda: RobustMAP([1.0], [0.0], between=1, vague_sd=1), "a standard error must be a finite number above 0, got 0"),
    (lambda: RobustMAP([1.0], [1.0], between=1, vague_sd=1, weight=1), "weight must be a finite number between 0 and 1, got 1"),
    (lambda: RobustMAP([math.nan], [1.0], between=1, vague_sd=1), "got nan"),
    (lambda: RobustMAP.from_counts([5], [4], between=1), "5 successes of 4 is no count"),
    (lambda: Commensurate(0, 0, between=1), "se must be a finite number above 0"),
    (lambda: Commensurate(0, 1, between=WIDE), "needs a positive prior"),
])
def test_borrowed_priors_refuse_what_cannot_be(make, message):
    with pytest.raises(StudyError, match=message):
        make()
