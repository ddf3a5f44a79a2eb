"""True values of regimes under scenarios, against published numbers, closed forms and brute force."""

import math

import numpy as np
import pytest
from scipy.special import expit

from bayesdtr.simulators import codiacs_qol
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Ordinal, Poisson, Response, Study, Survival, Utility, when
from bayesdtr.study.lifetime import RestrictedMean
from bayesdtr.trial.nature import Adherence, Gaussian, Law, Levels, LinearDrift, Scenario, Sites, bind, truth


def codiacs(label):
    def y(history):
        return codiacs_qol.mean(label, history["first"] == "therapy", history["improved"], history["second"] == "switch")

    return Scenario(label, {"improved": {"medication": 29 / 56, "therapy": 28 / 52}, "y": Law(y, sd=6.7)})


def test_all_eight_values_of_the_first_depression_scenario():
    found = truth(codiacs_qol.study(), codiacs("S1"))
    # By (d1, d2(not improved), d2(improved)).
    assert np.round(found.values, 4).tolist() == [6.2168, 3.7565, 10.2157, 7.7554, 15.4462, 9.9199, 13.6886, 8.1624]
    assert found.exact and not found.null and found.best.tolist() == [False] * 4 + [True] + [False] * 3
    assert "therapy; stay" in found.optimal_rule and "best" in str(found)


@pytest.mark.parametrize(("label", "place", "value"), [("S1", 4, 15.4462), ("S2", 6, 16.4814), ("S3", 2, 10.2157), ("S4", 7, 14.2134),
                                                       ("S5", 4, 15.4462)])
def test_optimal_values_of_the_depression_scenarios(label, place, value):
    found = truth(codiacs_qol.study(), codiacs(label))
    assert round(found.optimal, 4) == value and found.best.argmax() == place and found.best.sum() == 1


def smart(utility="y"):
    return Study(Decision("first", ["a", "b"]), Response("improved", Bernoulli()),
                 Decision("second", {when(improved=1): ["go on"], when(improved=0): ["switch", "add"]}), Response("y", Bernoulli()), utility=utility)


def binary(p, s):
    cells = {when(first="a", improved=1): p[0], when(first="a", second="switch"): p[1], when(first="a", second="add"): p[2],
             when(first="b", improved=1): p[3], when(first="b", second="switch"): p[4], when(first="b", second="add"): p[5]}
    return Scenario("binary", {"improved": dict(zip("ab", s, strict=True)), "y": cells})


@pytest.mark.parametrize(("p", "s", "values"), [((0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.7, 0.4), (0.23, 0.26, 0.56, 0.62)),
                                                ((0.5, 0.5, 0.5, 0.8, 0.7, 0.5), (0.5, 0.4), (0.5, 0.5, 0.74, 0.62))])
def test_embedded_regimes_of_a_binary_smart(p, s, values):
    assert np.allclose(truth(smart(), binary(p, s)).values, values, atol=1e-12)


def test_a_sharp_null_is_a_null():
    scenario = binary((0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.7, 0.4))
    found = truth(smart(), scenario.sharp_null({"first": "b", "second": "switch"}))
    assert found.null and np.allclose(found.values, 0.4 * 0.5 + 0.6 * 0.6)
    first = truth(smart(), scenario.sharp_null({"first": "a"}))  # the second decision still matters
    assert np.allclose(first.values, [0.23, 0.26, 0.23, 0.26]) and first.best.tolist() == [False, True, False, True]


def test_drift_and_dropout_leave_the_truth_alone_and_adherence_does_not():
    study, scenario = codiacs_qol.study(), codiacs("S1")
    plain = truth(study, scenario)
    assert (truth(study, scenario.with_drift(LinearDrift(3))).values == plain.values).all()
    # At the first decision 3 of 4 take what they are assigned to, the others the other option; the second is tailored as assigned.
    mixed = truth(study, scenario.with_adherence(Adherence({"first": 0.75})))
    assert np.allclose(mixed.values, 0.75 * plain.values + 0.25 * np.roll(plain.values, 4))
    named = truth(study, scenario.with_adherence(Adherence({"second": {"switch": 0.5}}, instead="stay")))
    assert np.allclose(named.values[[3, 7]], (plain.values[[0, 4]] + plain.values[[1, 5]] + plain.values[[2, 6]] + plain.values[[3, 7]]) / 4)
    assert np.allclose(named.values[[0, 4]], plain.values[[0, 4]])


def test_weights_costs_discount_and_tables_count():
    utility = Utility({"improved": 2.0, ("improved", "y"): {(0, 0): 0, (0, 1): 5, (1, 0): 1, (1, 1): 9}}, discount=0.9,
                      costs={"first": {"b": 0.5}, "second": {"add": 0.25}})
    p, s = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.7, 0.4)
    found = truth(smart(utility), binary(p, s)).values
    wanted = [2 * s[i] - 0.5 * i + 0.9 * (s[i] * (1 + 8 * p[3 * i]) + (1 - s[i]) * (5 * p[3 * i + 1 + j] - 0.25 * j)) for i in (0, 1) for j in (0, 1)]
    assert np.allclose(found, wanted, atol=1e-12)


def test_discrete_covariates_and_levels_are_enumerated():
    study = Study(Baseline("severity", levels=["mild", "severe"]), Decision("arm", ["a", "b"]), Response("state", Ordinal(["ill", "fair", "well"])),
                  utility=Utility({"state": {"ill": 0, "fair": 1, "well": 3}}))
    cells = {when(arm="a"): {"ill": 0.5, "fair": 0.3, "well": 0.2}, when(arm="b", severity="mild"): {"ill": 0.1, "fair": 0.2, "well": 0.7},
             when(arm="b", severity="severe"): {"ill": 0.8, "fair": 0.1, "well": 0.1}}
    found = truth(study, Scenario("s", {"state": cells}, baseline={"severity": Levels({"mild": 0.25, "severe": 0.75})}))
    assert found.exact and np.allclose(found.values, [0.9, 0.25 * 2.3 + 0.75 * 0.4])


def test_continuous_histories_come_with_an_error_that_holds():
    study = Study(Baseline("x"), Decision("arm", ["a", "b"]), Response("z", Normal()), Decision("next", ["c", "d"]), Response("y", Normal()),
                  utility="y")
    laws = {"z": Law(lambda h: h["x"] + (h["arm"] == "b"), sd=2.0), "y": Law(lambda h: h["z"] ** 2 - 3 * (h["next"] == "d"), sd=1.0)}
    scenario = Scenario("s", laws, baseline={"x": Gaussian(1, 0.5)})
    found = truth(study, scenario)
    exact = np.array([1 + 0.25 + 4, 1 + 0.25 + 4 - 3, 4 + 0.25 + 4, 4 + 0.25 + 4 - 3])
    assert not found.exact and (found.errors < 0.01).all() and (np.abs(found.values - exact) < 4 * found.errors).all()
    assert found.best.tolist() == [False, False, True, False]


def test_site_effects_are_averaged_over():
    study = Study(Decision("arm", ["a", "b"]), Response("y", Bernoulli()), utility="y", cluster="site")
    found = truth(study, Scenario("s", {"y": {"a": 0.2, "b": 0.5}}, clusters=Sites(5, sd={"y": 1.0})))
    z, w = np.polynomial.hermite_e.hermegauss(60)
    exact = [(w @ expit(math.log(p / (1 - p)) + z)) / w.sum() for p in (0.2, 0.5)]
    assert (np.abs(found.values - exact) < 4 * np.maximum(found.errors, 1e-9)).all() and (found.errors < 1e-3).all()


def test_restricted_means_of_times():
    study = Study(Decision("arm", ["a", "b"]), Response("t", Survival()), utility=RestrictedMean("t", horizon=12))
    found = truth(study, Scenario("s", {"t": Law({"a": 10, "b": 20}, shape=1.0)}))
    exact = [m * (1 - math.exp(-12 / m)) for m in (10, 20)]
    assert (np.abs(found.values - exact) < 4 * found.errors).all() and (found.errors < 0.01).all()


def test_a_count_that_only_weighs_counts_by_its_mean():
    study = Study(Decision("arm", ["a", "b"]), Response("visits", Poisson()), utility=Utility({"visits": -1.0}))
    found = truth(study, Scenario("s", {"visits": {"a": 3, "b": 2.5}}))
    assert found.exact and found.values.tolist() == [-3, -2.5]


def test_courses_that_end_keep_what_they_earned():
    study = Study(Decision("first", ["a", "b"]), Response("improved", Bernoulli()),
                  Decision("second", {when(improved=1): [], when(improved=0): ["c", "d"]}),
                  Response("y", Bernoulli()), utility=Utility({"improved": 1.0, "y": 1.0}))
    found = truth(study, Scenario("s", {"improved": {"a": 0.5, "b": 0.25}, "y": {"c": 0.2, "d": 0.4}}))
    assert np.allclose(found.values, [0.5 + 0.5 * 0.2, 0.5 + 0.5 * 0.4, 0.25 + 0.75 * 0.2, 0.25 + 0.75 * 0.4])


def test_patients_drawn_have_the_true_mean():
    study, scenario, regime = smart(), binary((0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.7, 0.4)), 3
    nature = bind(study, scenario, 100)
    people = nature.patients(3, np.arange(400))
    trial, patient = np.divmod(np.arange(40_000), 100)
    columns = {}
    for k, node in enumerate(study.decisions):
        columns[node.name] = study.embedded()[regime].option(study, node.name, columns or {"": trial})
        columns[study.responses[k].name] = nature.respond(people, k, columns, columns, trial, patient)
    value = truth(study, scenario).values[regime]
    assert abs(columns["y"].mean() - value) < 4 * math.sqrt(value * (1 - value) / 40_000)
