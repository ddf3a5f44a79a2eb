"""Plots: data twins hold the numbers of what they draw; every figure draws for every kind of study; pyplot is left alone."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayesdtr as dtr
from bayesdtr import plot
from bayesdtr.plot.priors import priors_in_force
from bayesdtr.plot.style import decimals, fixed, wrapped


def drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["timeline", "regime_tree", "embedded", "options", "predictive", "priors"])
def test_every_plot_draws_and_has_a_twin(any_analysis, name):
    a = any_analysis
    argument = {"timeline": a.posterior.study, "embedded": a.comparison, "predictive": a.posterior, "priors": a.posterior}.get(name, a.regime)
    figure = getattr(plot, name)(argument)
    assert isinstance(figure, Figure) and len(drawn(figure)) > 1000
    assert len(getattr(plot, f"{name}_data")(argument)) > 0


def test_timeline_data(hypertension_analysis):
    data = plot.timeline_data(hypertension_analysis.posterior.study)
    assert list(data["kind"]) == ["baseline"] * 3 + ["decision", "response", "decision", "decision", "response", "decision", "decision", "decision",
                                                     "response", "utility"]
    drug = data[data["name"] == "drug"]
    assert list(drug["condition"]) == ["sbp1 >= 140", "sbp1 < 140"]
    assert list(drug["options"]) == ["ace_inhibitor | calcium_blocker", "no_drug"]


def test_embedded_data_is_the_comparison(codiacs_analysis):
    data, rows = plot.embedded_data(codiacs_analysis.comparison), codiacs_analysis.comparison.rows
    assert list(data["mean"]) == sorted((r.value.mean for r in rows), reverse=True)
    by_label = {r.rules.label: r for r in rows}
    for _, line in data.iterrows():
        r = by_label[line["regime"]]
        assert (line["mean"], line["lower"], line["upper"], line["p_best"], line["patients"], line["in_best_set"]) == (
            r.value.mean, r.value.lower, r.value.upper, r.p_best, r.patients, r.in_best_set)
    assert list(data[data["reference"]]["regime"]) == ["medication; stay"]
    assert list(data[data["best"]]["regime"]) == ["therapy; stay"]


def test_options_data_is_the_cells(any_analysis):
    data = plot.options_data(any_analysis.regime)
    lines = [(c, o) for c in any_analysis.cells for o in c.options]
    assert len(data) == len(lines)
    for (_, row), (c, o) in zip(data.iterrows(), lines, strict=True):
        assert (row["decision"], row["cell"], row["option"], row["patients"]) == (c.decision, c.label, o.option, o.patients)
        assert (row["expected_utility"], row["lower"], row["upper"], row["p_best"]) == (o.expected_utility, o.lower, o.upper, o.p_best)
        assert row["sparse"] == (o.patients < 5) and row["recommended"] == (o.option == c.option)


def test_a_forced_option_is_in_no_cell(hypertension_analysis):
    data = plot.options_data(hypertension_analysis.regime)
    assert not set(data["option"]) & {"no_drug", "no_change"}
    assert set(data[data["decision"] == "drug"]["cell"]) == {"lifestyle = advice, sbp1 >= 140", "lifestyle = program, sbp1 >= 140"}


def test_regime_tree_data(codiacs_analysis):
    data = plot.regime_tree_data(codiacs_analysis.regime).set_index("cell")
    assert data["on_path"].to_dict() == {
        "everyone": True, "first = medication, improved = 0": False, "first = medication, improved = 1": False,
        "first = therapy, improved = 0": True, "first = therapy, improved = 1": True}
    assert data["sparse"].sum() == 2 and data.loc["first = therapy, improved = 1", "received"] == 2


def test_predictive_data(codiacs_analysis):
    data = plot.predictive_data(codiacs_analysis.posterior)
    frame = data[data["response"] == "improved"].set_index("group")
    observed = codiacs_analysis.posterior.tree["observed_data"]["improved"].values
    replicated = codiacs_analysis.posterior.tree["posterior_predictive"]["improved"].values.reshape(-1, 108)
    assert frame.loc["all patients", "observed"] == pytest.approx(observed.mean())
    assert frame.loc["all patients", "lower"] == pytest.approx(np.quantile(replicated.mean(axis=1), 0.025))
    assert list(frame["patients"]) == [108, 56, 52]
    density = data[data["response"] == "bdi_drop"]
    assert np.trapezoid(density["observed"], density["x"]) == pytest.approx(1, abs=0.01)
    assert (density["lower"] <= density["upper"]).all()


def test_priors_are_in_the_units_of_the_response(hypertension_analysis):
    posterior = hypertension_analysis.posterior
    rows = {(r.response, r.address): dict(r.numbers) for r in priors_in_force(posterior)}
    scale = posterior.scales["sbp1"]
    assert rows["sbp1", "intercept"] == {"loc": pytest.approx(scale.location), "scale": pytest.approx(2.5 * scale.sd)}
    assert rows["sbp1", "tau"] == {"scale": pytest.approx(0.5 * scale.sd)}
    data = plot.priors_data(posterior)
    for _, curve in data[data["address"] == "tau"].groupby("response"):
        assert np.trapezoid(curve["density"], curve["x"]) == pytest.approx(1, abs=0.01)


def test_the_exact_engine_shows_its_own_prior(codiacs_analysis):
    rows = {(r.response, r.address): r for r in priors_in_force(codiacs_analysis.posterior)}
    assert set(rows) == {("improved", "probability"), ("bdi_drop", "(mean, sigma)")}
    assert rows["bdi_drop", "(mean, sigma)"].distribution == "improper" and not rows["bdi_drop", "(mean, sigma)"].numbers


@pytest.mark.parametrize("prior", [
    dtr.Prior("Normal", loc=1, scale=2), dtr.Prior("StudentT", df=3, loc=0, scale=1), dtr.Prior("Cauchy", loc=0, scale=1),
    dtr.Prior("HalfNormal", scale=2), dtr.Prior("HalfCauchy", scale=1), dtr.Prior("LogNormal", loc=0, scale=0.5), dtr.Prior("Exponential", rate=2),
    dtr.Prior("Gamma", concentration=2, rate=3), dtr.Prior("InverseGamma", concentration=3, rate=2),
    dtr.Prior("Beta", concentration1=0.5, concentration0=0.5), dtr.Prior("Uniform", low=-1, high=3),
], ids=lambda p: p.distribution)
def test_densities_agree_with_numpyro(prior):
    import numpyro.distributions as nd

    from bayesdtr.inference.ess import frozen

    mine, theirs = frozen(prior), getattr(nd, prior.distribution)(**dict(prior.parameters))
    x = np.array([0.2, 0.5, 0.9])
    assert mine.pdf(x) == pytest.approx(np.exp(np.asarray(theirs.log_prob(x))), rel=1e-4)


def test_long_and_hostile_labels_are_drawn():
    labels = ["a_very_long_name_of_a_treatment_" * 4, "costs $5 and $6 (100%)", "<script>alert(1)</script>"]
    study = dtr.Study(dtr.Decision("which_of_the_many_treatments_" * 3, labels), dtr.Response("y", dtr.Normal()), utility="y")
    assert drawn(plot.timeline(study))
    assert wrapped("abc", 10) == "abc" and all(len(line) <= 30 for line in wrapped(labels[0], 24).split("\n"))


def test_numbers():
    assert fixed(-0.001, 1) == "0.0" and fixed(2.345, 1) == "2.3"
    assert [decimals(x) for x in (31.0, 3.1, 0.31, 0.031, 0.0)] == [0, 1, 2, 3, 2]


def test_pyplot_is_never_imported():
    code = ("import sys, bayesdtr as dtr; from bayesdtr import plot; assert 'matplotlib' not in sys.modules, 'import'; "
            "s = dtr.Study(dtr.Decision('a', ['x', 'z']), dtr.Response('y', dtr.Normal()), utility='y'); "
            "plot.timeline(s).savefig('/dev/null', format='png'); "
            "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-500:]


def test_prior_predictive_shows_the_quantiles_of_simulated_outcomes(codiacs_analysis):
    posterior = codiacs_analysis.posterior if hasattr(codiacs_analysis, "posterior") else codiacs_analysis.regime.posterior
    rng = np.random.default_rng(0)
    n = posterior.trajectories.n
    outcomes = {"improved": (rng.random((50, n)) < 0.5).astype(float), "bdi_drop": rng.normal(0, 100, (50, n))}
    table = dtr.plot.prior_predictive_data(posterior, outcomes).set_index("response")
    assert table.loc["bdi_drop", "q0.5"] == np.quantile(outcomes["bdi_drop"], 0.5)
    assert table.loc["improved", "q0.975"] == np.quantile(outcomes["improved"].mean(axis=1), 0.975)
    assert table.loc["bdi_drop", "highest"] == posterior.trajectories.columns["bdi_drop"].max()
    assert len(dtr.plot.prior_predictive(posterior, outcomes).axes) == 2


def test_acceptability_data_is_the_result(codiacs_analysis):
    posterior = codiacs_analysis.posterior
    result = dtr.acceptability(posterior, effect="bdi_drop", cost={"first": {"therapy": 12.0}}, thresholds=np.linspace(0, 4, 9))
    data = plot.acceptability_data(result)
    assert len(drawn(plot.acceptability(result))) > 1000
    np.testing.assert_allclose(data.groupby("threshold")["p_best"].sum(), 1.0)
    assert data["regime"].nunique() == 7 and data["frontier"].sum() == 9  # six of eight, and the others together
    for _, line in data[data["regime"] != "the others together"].iterrows():
        k, r = list(result.thresholds).index(line["threshold"]), result.labels.index(line["regime"])
        assert (line["p_best"], line["p_best_mcse"], line["evpi"]) == (result.p_best[k, r], result.p_best_error[k, r], result.evpi[k])


def test_the_waterfall_goes_from_the_average_to_the_patient(adhd_analysis, codiacs_analysis):
    frame = adhd_analysis.posterior.trajectories
    row = {n: [frame.columns[n][0]] for n in ("odd", "severity", "priormed", "race")}
    told = adhd_analysis.regime.explain(pd.DataFrame(row))
    data = plot.explanation_data(told)
    assert list(data["kind"]) == ["average", *["variable"] * 4, "patient"]
    variables = data[data["kind"] == "variable"]
    assert list(variables["contribution"]) == [c.contribution for c in told.contributions.rows]
    np.testing.assert_allclose(variables["begin"], [told.contributions.base, *variables["end"].iloc[:-1]])
    assert data["end"].iloc[-1] == pytest.approx(variables["end"].iloc[-1]) == pytest.approx(told.difference.mean)
    assert len(drawn(plot.explanation(told))) > 1000
    bare = codiacs_analysis.regime.explain(pd.DataFrame({"row": [1]}))  # nothing is known before the first decision
    assert list(plot.explanation_data(bare)["kind"]) == ["patient"] and len(drawn(plot.explanation(bare))) > 1000


def test_small_contributions_are_drawn_together(adhd_analysis):
    from bayesdtr.plot.explanation import MOST, _joined

    row = {n: [adhd_analysis.posterior.trajectories.columns[n][0]] for n in ("odd", "severity", "priormed", "race")}
    told = adhd_analysis.regime.explain(pd.DataFrame(row))
    one = told.contributions.rows[0]
    many = dataclasses.replace(told, contributions=dataclasses.replace(told.contributions, rows=(one,) * 20))
    data = plot.explanation_data(many)
    joined = _joined(data)
    assert len(data) == 22 and len(joined) == MOST + 2 and joined["variable"].iloc[MOST] == "9 others together"
    assert joined["contribution"].iloc[MOST] == pytest.approx(9 * one.contribution) and joined["end"].iloc[MOST] == data["end"].iloc[20]
    assert len(drawn(plot.explanation(many))) > 1000


def test_evsi_is_drawn_from_its_twin():
    from bayesdtr.gallery import codiacs

    posterior = dtr.fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=400)
    plain = dtr.evsi(posterior, [0, 50, 100], seed=1)
    priced = dtr.evsi(posterior, [0, 50, 100], seed=1, population=1000, cost_per_patient=1.0)
    for information in (plain, priced):
        data = plot.evsi_data(information)
        assert list(data["size"]) == [0, 50, 100] and (data["evsi_lower"] <= data["evsi"]).all() and (data["evsi"] <= data["evsi_upper"]).all()
        np.testing.assert_array_equal(data["evsi"], information.values)
        figure = plot.evsi(information)
        line = next(x for x in figure.axes[0].get_lines() if len(x.get_xdata()) == 3)
        np.testing.assert_array_equal(line.get_ydata(), data["evsi"])
        assert isinstance(figure, Figure) and drawn(figure) and len(figure.axes) == (2 if "net" in data else 1)
    data = plot.evsi_data(priced)
    assert data["best"].sum() == 1 and data.loc[data["best"], "size"].item() == priced.best
