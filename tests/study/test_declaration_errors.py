"""A declaration that cannot be meant is refused where it is made, with the value and what is allowed."""

import math

import numpy as np
import pytest

from bayesdtr.errors import BayesDTRError, StudyError, did_you_mean, listing
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    Decision,
    Hierarchical,
    Normal,
    NormalInverseGamma,
    Prior,
    Response,
    Saturated,
    Study,
    Utility,
    at_least,
    below,
    between,
    one_of,
    when,
)

A = Decision("a", ["x", "y"])
R = Response("r", Bernoulli())
Y = Response("y", Normal())


def two(options, **more):
    return Study(Baseline("age"), A, R, Decision("b", options, **more), Y, utility="y")


CASES = {
    # parts of a timeline
    r"Baseline needs a name \(text\), got 3": lambda: Baseline(3),
    r"Decision needs a name": lambda: Decision(" ", ["x"]),
    r"Response 'a::b': a name must not contain '::'": lambda: Response("a::b", Normal()),
    r"Baseline 'a/b': a name must not contain '/'": lambda: Baseline("a/b"),
    r"Baseline 'sex': levels needs a list of labels, got 'fm'": lambda: Baseline("sex", levels="fm"),
    r"Baseline 'sex': levels needs at least 2 labels": lambda: Baseline("sex", levels=["f"]),
    r"labels are text, got 1; write '1'": lambda: Decision("a", [1, 2]),
    r"'x' is listed twice": lambda: Decision("a", ["x", "y", "x"]),
    r"Decision 'a': options needs at least 1 label, got \[\]": lambda: Decision("a", []),
    r"Decision 'a': options is empty": lambda: Decision("a", {}),
    r"keys of options are conditions such as when\(improved=0\), got 'x'": lambda: Decision("a", {"x": ["u"]}),
    r"assigned must be 'randomized' or 'observed', got 'random'": lambda: Decision("a", ["x"], assigned="random"),
    r"probability belongs to a randomized decision": lambda: Decision("a", ["x", "y"], assigned="observed", probability="p"),
    r"probability names 'z'; options: 'x', 'y'": lambda: Decision("a", ["x", "y"], probability={"z": 1.0}),
    r"probability of 'x' must lie in \(0, 1\], got 0": lambda: Decision("a", ["x", "y"], probability={"x": 0, "y": 1}),
    r"probability lacks 'y'": lambda: Decision("a", ["x", "y"], probability={"x": 0.5}),
    r"probabilities of 'x', 'y' add up to 1.1, not 1": lambda: Decision("a", ["x", "y"], probability={"x": 0.5, "y": 0.6}),
    r"probability is None, a mapping of options to numbers, or a column's name, got 0.5": lambda: Decision("a", ["x", "y"], probability=0.5),
    r"tailoring needs a list of names, for example \['r'\]": lambda: Decision("a", ["x", "y"], tailoring="r"),
    r"Response 'y': write Normal\(\) with brackets": lambda: Response("y", Normal),
    r"Response 'y': write Saturated\(\) with brackets": lambda: Response("y", Normal(), model=Saturated),
    r"Response 'y': write Hierarchical\(\) with brackets": lambda: Response("y", Normal(), model=Hierarchical),
    r"second argument is a family such as Normal\(\) or Bernoulli\(\), got 'normal'": lambda: Response("y", "normal"),
    r"model is None, Saturated\(\) or a function of the history, got 3": lambda: Response("y", Normal(), model=3),
    r"Response 'y' needs a family": lambda: Response("y"),
    r"its priors stand in the model function": lambda: Response("y", model=len, priors={"tau": Prior("HalfNormal", scale=1)}),
    r"priors\['tau'\] must be a Prior, got 1": lambda: Response("y", Normal(), priors={"tau": 1}),
    r"priors is a mapping of addresses to Prior": lambda: Response("y", Normal(), priors=[1]),
    r"Saturated\(over='r'\) needs a list of names": lambda: Saturated(over="r"),
    r"Saturated\(conjugate=...\) takes a NormalInverseGamma or None": lambda: Saturated(conjugate=Prior("Normal", loc=0, scale=1)),
    # conditions
    r"when\(\) needs at least one test": lambda: when(),
    r"compares with a label or a finite number, got None": lambda: when(r=None),
    r"compares with a label or a finite number, got nan": lambda: when(r=math.nan),
    r"at_least\(\.\.\.\) needs a number, got '3'": lambda: at_least("3"),
    r"below\(\.\.\.\) needs a finite number, got inf": lambda: below(math.inf),
    r"between\(3, 3\) is empty": lambda: between(3, 3),
    r"one_of\(\) needs at least one value": lambda: one_of(),
    r"Decision 'b': when\(rr=\.\.\.\) names 'rr', which is not observed before it; known there: 'age', 'a', 'r'; did you mean 'r'\?":
        lambda: two({when(rr=0): ["u"], when(r=1): ["v"]}),
    r"'y', which is not observed before it": lambda: two({when(y=at_least(0)): ["u"], when(y=below(0)): ["v"]}),
    r"Decision 'b': 'r' cannot equal 2; allowed: 0, 1": lambda: two({when(r=2): ["u"], when(r=0): ["v"]}),
    r"Decision 'b': 'r' cannot equal '0'; allowed: 0, 1; did you mean 0\?": lambda: two({when(r="0"): ["u"], when(r=1): ["v"]}),
    r"'age' is numeric, so it cannot be compared with 'old'": lambda: two({when(age="old"): ["u"]}),
    r"'a' has labels \('x', 'y'\), so a threshold does not apply": lambda: two({when(a=at_least(1)): ["u"]}),
    r"Decision 'b': no condition holds for r = 1; ": lambda: two({when(r=0): ["u", "v"]}),
    r"Decision 'b': more than one condition holds for r = 0": lambda: two({when(r=0): ["u"], when(r=at_least(0)): ["v"]}),
    r"no condition holds for age = 65; ":
        lambda: two({when(age=below(65)): ["u"], when(age=between(65.5, 99)): ["v"], when(age=at_least(99)): ["w"]}),
    r"more than one condition holds for age = 65": lambda: two({when(age=below(66)): ["u"], when(age=at_least(65)): ["v"]}),
    r"no condition holds for a = y, r = 1": lambda: two({when(a="x"): ["u"], when(a="y", r=0): ["v"]}),
    r"tailoring names 'q'; observed before it: 'age', 'a', 'r'": lambda: two(["u", "v"], tailoring=["q"]),
    r"tailoring variable 'age' is continuous": lambda: two(["u", "v"], tailoring=["age"]),
    # the study
    r"takes Baseline, Decision and Response in time order, got 'a'": lambda: Study("a", utility="y"),
    r"the name 'a' is used twice": lambda: Study(A, R, A, Y, utility="y"),
    r"at least one Decision is needed": lambda: Study(Baseline("age"), utility="y"),
    r"'r' comes before the first decision, so it is a Baseline": lambda: Study(R, A, Y, utility="y"),
    r"baseline 'age' comes after a decision": lambda: Study(A, Baseline("age"), Y, utility="y"),
    r"no Response follows decision 'a' before the next one": lambda: Study(A, Decision("b", ["u"]), Y, utility="y"),
    r"cluster='y' must name a column that is not part of the timeline": lambda: Study(A, Y, utility="y", cluster="y"),
    r"id='' must name a column": lambda: Study(A, Y, utility="y", id=""),
    r"cluster and id name the same column 's'": lambda: Study(A, Y, utility="y", id="s", cluster="s"),
    r"probability='y' must name a column that is not part of the timeline":
        lambda: Study(Decision("a", ["x", "z"], probability="y"), Y, utility="y"),
    r"mcid must be a finite number above 0, got -1": lambda: Study(A, Y, utility="y", mcid=-1),
    r"mcid must be a finite number above 0, got inf": lambda: Study(A, Y, utility="y", mcid=math.inf),
    r"mcid must be a finite number above 0, got True": lambda: Study(A, Y, utility="y", mcid=True),
    r"estimand is a mapping of intercurrent events to sentences": lambda: Study(A, Y, utility="y", estimand={"death": 3}),
    r"scales names 'r'; continuous variables: 'y'": lambda: Study(A, R, Y, utility="y", scales={"r": 1}),
    r"the scale of 'y' is an SD, \(location, SD\) or a Scale, got 'wide'": lambda: Study(A, Y, utility="y", scales={"y": "wide"}),
    r"the scale of 'y' is an SD, \(location, SD\) or a Scale, got \(1, 2, 3\)": lambda: Study(A, Y, utility="y", scales={"y": (1, 2, 3)}),
    r"an SD above 0 and a finite location .or None., got SD 0.0": lambda: Study(A, Y, utility="y", scales={"y": 0}),
    r"finite location .or None., got SD 1.0 and location nan": lambda: Study(A, Y, utility="y", scales={"y": (math.nan, 1)}),
    r"Response 'y': no prior address 'tua'; this model has 'intercept', .*did you mean 'tau'\?":
        lambda: Study(A, Response("y", Normal(), priors={"tua": Prior("HalfNormal", scale=1)}), utility="y"),
    r"prior of 'tau' must be one of 'HalfNormal', .*, got Normal\(0, 1\)":
        lambda: Study(A, Response("y", Normal(), priors={"tau": Prior("Normal", loc=0, scale=1)}), utility="y"),
    r"no prior address 'cluster_sd'": lambda: Study(A, Response("y", Normal(), priors={"cluster_sd": Prior("HalfNormal", scale=1)}), utility="y"),
    r"no prior address 'sigma'": lambda: Study(A, Response("y", Bernoulli(), priors={"sigma": Prior("HalfNormal", scale=1)}), utility="y"),
    r"Saturated needs discrete variables, and 'age' is continuous; name the cells with Saturated\(over=\['a'\]\)":
        lambda: Study(Baseline("age"), A, Response("y", Normal(), model=Saturated()), utility="y"),
    r"Saturated\(over=\.\.\.\) names 'q'; observed before it: 'a'":
        lambda: Study(A, Response("y", Normal(), model=Saturated(over=["q"])), utility="y"),
    r"conjugate= belongs to a Normal response":
        lambda: Study(A, Response("y", Bernoulli(), model=Saturated(conjugate=NormalInverseGamma(0, 1, 1, 1))), utility="y"),
    # utility, reference
    r"Utility takes the name of a response or a mapping of names to weights, got \{\}": lambda: Utility({}),
    r"weight of 'y' must be a finite number other than 0, got 0": lambda: Utility({"y": 0}),
    r"weight of 'y' must be a finite number other than 0, got nan": lambda: Utility({"y": math.nan}),
    r"discount must lie in \(0, 1\], got 0": lambda: Utility("y", discount=0),
    r"Utility names 'yy'; responses: 'r', 'y'; did you mean 'y'\?": lambda: Study(A, R, Y, utility="yy"),
    r"utility is a Utility or the name of a response, got 1": lambda: Study(A, Y, utility=1),
    r"does not depend on anything observed after the last decision 'b'": lambda: Study(A, R, Decision("b", ["u", "v"]), Y, utility="r"),
    r"reference: no decision 'q'; decisions: 'a'": lambda: Study(A, Y, utility="y", reference={"q": "x"}),
    r"reference: decision 'a' is missing; options: 'x', 'y'": lambda: Study(A, Y, utility="y", reference={}),
    r"reference: 'z' is not an option of 'a'; options: 'x', 'y'": lambda: Study(A, Y, utility="y", reference={"a": "z"}),
    r"reference: 'a' takes an option or a mapping": lambda: Study(A, Y, utility="y", reference={"a": ["x"]}),
    r"keys for 'a' are conditions such as when\(improved=0\), got 'x'": lambda: Study(A, Y, utility="y", reference={"a": {"x": "x"}}),
    r"reference, 'a': when\(y=\.\.\.\) names 'y', which is not observed before it":
        lambda: Study(A, Y, utility="y", reference={"a": {when(y=1): "x"}}),
    # priors
    r"no distribution 'normal'; allowed: .*; did you mean 'Normal'\?": lambda: Prior("normal", loc=0, scale=1),
    r"Normal takes no argument 'sd'; it takes 'loc', 'scale'": lambda: Prior("Normal", loc=0, sd=1),
    r"Normal also needs 'scale'": lambda: Prior("Normal", loc=0),
    r"Normal\(loc='0'\) needs a finite number": lambda: Prior("Normal", loc="0", scale=1),
    r"Normal\(loc=True\) needs a finite number": lambda: Prior("Normal", loc=True, scale=1),
    r"Normal\(scale=inf\) needs a finite number": lambda: Prior("Normal", loc=0, scale=math.inf),
    r"HalfNormal\(scale=0\) must be above 0": lambda: Prior("HalfNormal", scale=0),
    r"Beta\(concentration1=-1\) must be above 0": lambda: Prior("Beta", concentration1=-1, concentration0=1),
    r"Uniform needs low < high, got 2 and 1": lambda: Prior("Uniform", low=2, high=1),
    r"NormalInverseGamma: strength must be above 0, got 0": lambda: NormalInverseGamma(0, 0, 1, 1),
    r"NormalInverseGamma: mean must be a finite number, got nan": lambda: NormalInverseGamma(math.nan, 1, 1, 1),
    r"NormalInverseGamma: rate must be a finite number, got '1'": lambda: NormalInverseGamma(0, 1, 1, "1"),
}


@pytest.mark.parametrize("pattern", list(CASES))
def test_refused(pattern):
    with pytest.raises(StudyError, match=pattern) as caught:
        CASES[pattern]()
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, BayesDTRError)


def test_an_unknown_variable_of_a_study(codiacs):
    with pytest.raises(StudyError, match=r"no variable 'a1'; it has 'A1', 'O2', 'A2', 'Y'; did you mean 'A1'\?"):
        codiacs["a1"]
    with pytest.raises(StudyError, match=r"'O2' is not a decision; decisions: 'A1', 'A2'"):
        codiacs.feasible("O2", {"A1": np.array([0])})


def test_numpy_numbers_are_numbers():
    study = Study(A, R, Decision("b", {when(r=np.int64(0)): ["u", "v"], when(r=np.bool_(True)): ["w"]}), Y, mcid=np.float32(0.5),
                  utility=Utility({"y": np.int64(1)}), scales={"y": np.float64(2)})
    assert study == Study(A, R, Decision("b", {when(r=0): ["u", "v"], when(r=1): ["w"]}), Y, utility="y", mcid=0.5, scales={"y": 2.0})
    assert Prior("Normal", loc=np.int64(1), scale=np.float32(2)) == Prior("Normal", loc=1, scale=2)


def test_words_of_messages():
    assert did_you_mean("Severity", ["severity", "age"]) == "; did you mean 'severity'?" and did_you_mean("q", ["severity"]) == ""
    assert listing("abc") == "'a', 'b', 'c'" and listing(range(14), 12).endswith("11 and 2 more")


def test_a_reference_must_be_feasible_wherever_it_leads():
    first, improved = Decision("first", ["a", "b"]), Response("improved", Bernoulli())
    second = Decision("second", {when(improved=0): ["c", "d"], when(improved=1): ["e", "f"]})
    y = Response("y", Normal())
    with pytest.raises(StudyError, match=r"at decision 'second' it names 'c', which is not feasible, for first = a, improved = 1"):
        Study(first, improved, second, y, utility="y", reference={"first": "a", "second": "c"})
    with pytest.raises(StudyError, match=r"at decision 'second' it names no option for first = a, improved = 1"):
        Study(first, improved, second, y, utility="y", reference={"first": "a", "second": {when(improved=0): "c"}})
