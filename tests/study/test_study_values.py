"""A study as a value: equality, hash, JSON, look-ups, feasible sets."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesdtr.errors import FileError, StudyError
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    BetaBinomial,
    Categorical,
    Commensurate,
    Decision,
    Exponential,
    Hierarchical,
    Hurdle,
    LogNormal,
    Lottery,
    NegativeBinomial,
    Normal,
    NormalInverseGamma,
    Ordinal,
    PiecewiseLinear,
    Poisson,
    Power,
    Prior,
    QualityAdjusted,
    Response,
    RestrictedMean,
    RobustMAP,
    Safety,
    SafetyGate,
    Saturated,
    Scale,
    StudentT,
    Study,
    Survival,
    SurvivalAt,
    Utility,
    ZeroInflated,
    at_least,
    below,
    between,
    from_json,
    one_of,
    to_json,
    when,
)
from bayesdtr.study.codec import CLASSES, decode, encode
from bayesdtr.study.conditions import Condition
from bayesdtr.study.models import UserModel, source_hash


def importable(history):
    """A user's model that a file can name: this module is imported by its name."""


def another(history):
    """Another one."""
    return history


ONE = Study(Decision("a", ["x", "y"]), Response("y", Normal()), utility="y", reference={"a": "x"})
EXAMPLES = [
    *when(age=at_least(3), r=0, arm="x", dose=between(1, 2.5), b=one_of("u", 3), c=below(-1)).tests,
    Condition(), when(r=1),
    Normal(), Bernoulli(), StudentT(), LogNormal(), BetaBinomial(4), Ordinal(["a", "b", "c"]), Categorical(["a", "b"]), Poisson("years"),
    NegativeBinomial(), ZeroInflated(Poisson()), Hurdle(LogNormal()),
    Survival(), Survival("lognormal", event="died"), Survival("piecewise", upper="until", breaks=[1, 2.5]),
    Decision("b", {when(r=0): ["x"], when(r=1): []}), Utility({RestrictedMean(["s", "t"], horizon=24): 1.0, "harm": -2.0}),
    Utility(SurvivalAt("s", at=12)), Utility(QualityAdjusted({"s": 0.7, "t": 0.5}, horizon=24, discount_rate=0.03)),
    Hierarchical(), Saturated(), Saturated(over=["a", "b"], conjugate=NormalInverseGamma(0, 1, 2, 3)),
    NormalInverseGamma(0, 1, 2, 3), Prior("StudentT", df=3, loc=0, scale=1, reason="ü"),
    Utility({"a": 1, "b": -0.1, "c": {0: 1, 1: 2}, ("d", "e"): {("u", 0): 0.5}}, discount=0.3), Scale(1.5, 2),
    Baseline("age"), Baseline("sex", levels=["f", "m"]),
    Decision("a", ["x"]), Decision("a", ["x", "y"], probability={"x": 0.1, "y": 0.9}, tailoring=[]),
    Decision("a", {when(r=0): ["x", "y"], when(r=1): ["z"]}, probability="p"), Decision("a", ["x", "y"], assigned="observed", tailoring=["r"]),
    Response("y", Normal(), priors={"tau": Prior("HalfNormal", scale=1)}), RobustMAP([0.1, 0.3], [0.1, 0.2], between=0.2, vague_sd=1),
    Commensurate(0.2, 0.1, between=0.3), ONE.reference, ONE, Lottery({"x": 0.7, "y": 0.3}), Utility("y", costs={"a": {"x": 1.5}}),
    UserModel("m:f", "abc"), Utility("y", attitude=Exponential(0.3), better={"y": "higher"}), Utility("y", attitude=Power(0.5, offset=2)),
    Utility("y", attitude=PiecewiseLinear(knots=[0, 1], slopes=[2, 1, 0.5])),
    SafetyGate("y", above=0.3, probability=0.1), Safety((SafetyGate("y", levels=["bad"], below=0.3, probability=0.1),), (("a", "x"),)),
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda v: type(v).__name__)
def test_every_declaration_survives_json(value):
    text = json.dumps(encode(value), allow_nan=False)
    again = decode(json.loads(text))
    assert again == value and hash(again) == hash(value) and json.dumps(encode(again)) == text


def test_the_examples_cover_every_class():
    def kinds(v):
        return {type(v).__name__, *(k for f in dataclasses.fields(v) for k in kinds(getattr(v, f.name)))} if dataclasses.is_dataclass(v) else {
            k for x in (v if isinstance(v, tuple) else ()) for k in kinds(x)}

    assert set(CLASSES) <= set().union(*(kinds(v) for v in EXAMPLES))


def test_a_study_survives_json(rich, codiacs, three_stages):
    for study in (rich, codiacs, three_stages):
        again = from_json(to_json(study))
        assert again == study and hash(again) == hash(study) and to_json(again) == to_json(study) and str(again) == str(study)
    assert len({rich, codiacs, three_stages, from_json(to_json(rich))}) == 3


@given(st.floats(-1e9, 1e9), st.floats(1e-300, 1e300), st.text(min_size=1))
def test_numbers_and_texts_survive_json_exactly(cut, sd, reason):
    study = Study(Baseline("x"), Decision("arm", {when(x=below(cut)): ["a", "b"], when(x=at_least(cut)): ["d"]}),
                  Response("y", Normal(), priors={"beta": Prior("Normal", loc=0, scale=sd, reason=reason)}), utility="y", scales={"y": (cut, sd)})
    assert from_json(to_json(study)) == study


@pytest.mark.parametrize(("text", "pattern"), [
    ("{", "not JSON of a bayesdtr study"),
    ("3", "declares a int, not a Study"),
    ('{"kind": "Normal"}', "declares a Normal, not a Study"),
    ('{"kind": "Os"}', r"unknown kind 'Os'; this release knows 'Baseline'"),
    ('{"kind": "Study"}', "declaration of a Study lacks"),
    ('{"kind": "Normal", "df": 3}', "Normal has unknown parts 'df'; it comes from another release"),
])
def test_foreign_json(text, pattern):
    with pytest.raises(FileError, match=pattern):
        from_json(text)


def test_equality_sees_every_part():
    base = dict(utility="y", cluster="s", id="i", mcid=1.0, reference={"a": "x"}, estimand={"death": "d"}, scales={"y": 2.0})
    a, y = Decision("a", ["x", "z"]), Response("y", Normal())
    reference = Study(a, y, **base)
    assert reference == Study(Decision("a", ("x", "z")), y, **base)
    changes = [dict(cluster=None), dict(id=None), dict(mcid=2.0), dict(reference={"a": "z"}), dict(estimand={}), dict(scales={}),
               dict(utility=Utility("y", discount=0.5))]
    others = [Study(a, y, **base | change) for change in changes] + [Study(Decision("a", ["z", "x"]), y, **base)]
    assert len({reference, *others}) == len(changes) + 2


def test_frozen(codiacs):
    with pytest.raises(dataclasses.FrozenInstanceError):
        codiacs.mcid = 3


# ---- a user's model -------------------------------------------------------------------------------


def test_a_users_model_is_found_again_by_its_address():
    study = Study(Decision("a", ["x", "y"]), Response("y", model=importable), utility="y")
    model = study["y"].model
    assert model.function is importable and model.address.endswith(":importable") and model.why_not_saved is None
    text = to_json(study)
    assert "function" not in json.loads(text)["timeline"][1]["model"]
    again = from_json(text, models={"y": importable})
    assert again == study and again["y"].model.function is importable


def test_a_users_model_that_changed_or_is_lost():
    study = Study(Decision("a", ["x", "y"]), Response("y", model=importable), utility="y")
    with pytest.raises(StudyError, match=r"source of the response's model '.*:importable' has changed since it was saved"):
        from_json(to_json(study), models={"y": another})
    with pytest.raises(StudyError, match=r"models names 'z', which are not responses with a user-written model"):
        from_json(to_json(study), models={"y": importable, "z": importable})
    lost = to_json(study).replace(":importable", ":gone")
    with pytest.raises(StudyError, match=r"':?.*:gone' cannot be found .*pass models=\{response: function\}"):
        from_json(lost)


def test_why_a_model_cannot_be_saved():
    def local(history):
        """Inside a function."""

    assert "it is a lambda" in UserModel.of(lambda history: None).why_not_saved
    assert "defined inside another function" in UserModel.of(local).why_not_saved
    assert "script or notebook" in UserModel("__main__:f", "0").why_not_saved
    assert source_hash(importable) != source_hash(another) and source_hash(len)


# ---- looking things up ------------------------------------------------------------------------------


def test_lookups(rich):
    assert rich.names == ("sbp", "sex", "drug", "bp", "harm", "next", "relief", "qol")
    assert [n.name for n in rich.before("next")] == ["sbp", "sex", "drug", "bp", "harm"]
    assert [n.name for n in rich.after("drug")] == ["bp", "harm"] and [n.name for n in rich.after("next")] == ["relief", "qol"]
    assert [rich.stage(n) for n in rich.names] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert rich.weight("qol") == pytest.approx(0.9) and rich.weight("harm") == -2 and rich.weight("bp") == 0
    assert rich["next"].options == ("stop", "stay", "more") and rich["next"].sets == (("stop",), ("stay", "more"))
    assert rich.code("next", "more") == 2 and rich.code("harm", 1) == 1 and np.isnan(rich.code("sex", "x"))


def test_randomization():
    d = Decision("a", {when(r=0): ["x", "y"], when(r=1): ["z"]}, probability={"x": 0.25, "y": 0.75})
    assert d.randomization(("x", "y")) == {"x": 0.25, "y": 0.75} and d.randomization(("z",)) == {"z": 1.0}
    assert Decision("a", ["x", "y", "z"]).randomization(("x", "y", "z")) == pytest.approx(dict.fromkeys("xyz", 1 / 3))
    assert Decision("a", ["x", "y"], assigned="observed").randomization(("x", "y")) is None
    assert Decision("a", ["x", "y"], probability="p").randomization(("x", "y")) is None


def test_feasible_sets(rich):
    history = {"sbp": np.array([139.9, 140.0, 200.0, np.nan])}
    assert rich.stratum("drug", history).tolist() == [1, 0, 0, -1]
    assert rich.feasible("drug", history).tolist() == [[False, False, True], [True, True, False], [True, True, False], [False] * 3]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.floats(-50, 50), st.floats(0.001, 50))
def test_a_partition_by_thresholds_puts_everyone_in_one_place(values, low, width):
    parts = {when(x=below(low)): ["a"], when(x=between(low, low + width)): ["b", "c"], when(x=at_least(low + width)): ["e"]}
    study = Study(Baseline("x"), Decision("d", parts), Response("y", Normal()), utility="y")
    x = np.array(values)
    expected = np.where(x < low, 0, np.where(x < low + width, 1, 2))
    assert study.stratum("d", {"x": x}).tolist() == expected.tolist()
    assert (study.feasible("d", {"x": x}).sum(axis=1) == np.array([1, 2, 1])[expected]).all()


def test_scales_can_be_taken_over():
    study = Study(Decision("a", ["x", "y"]), Response("m", Normal()), Response("y", Normal()), utility="y", scales={"m": (1, 2)})
    taken = study.with_scales({"y": Scale(3.0, 4.0)})
    assert dict(taken.scales) == {"m": Scale(1.0, 2.0), "y": Scale(3.0, 4.0)} and dict(study.scales) == {"m": Scale(1.0, 2.0)}
    assert taken.with_scales({"y": 5.0}).scales[1] == ("y", Scale(None, 5.0)) and from_json(to_json(taken)) == taken
    with pytest.raises(StudyError, match="scales names 'z'"):
        study.with_scales({"z": 1.0})


def test_a_partition_over_what_is_reachable_only():
    """Conditions need not cover an option that is infeasible where they would have to."""
    study = Study(
        Baseline("x"), Decision("first", {when(x=below(0)): ["a"], when(x=at_least(0)): ["b"]}), Response("r", Bernoulli()),
        Decision("second", {when(first="a", x=below(0)): ["c", "d"], when(first="b", x=at_least(0)): ["e"]}), Response("y", Normal()), utility="y",
    )
    reachable = {"x": np.array([-1.0, 1.0]), "first": np.array([0, 1]), "r": np.array([0.0, 1.0])}
    assert study.feasible("second", reachable).tolist() == [[True, True, False], [False, False, True]]


def test_conditions_read_like_sentences():
    text = str(when(improved=0, sbp=at_least(140), age=between(18, 65), bmi=below(30.5), arm=one_of("a", "b")))
    assert text == "improved = 0 and sbp >= 140 and 18 <= age < 65 and bmi < 30.5 and arm in {a, b}"
    assert str(Condition()) == "always"
