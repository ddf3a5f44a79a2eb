"""Plots of trials: twins hold what is drawn, figures draw, wrong arguments are named."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import two_arms
from matplotlib.figure import Figure

from bayesdtr import plot
from bayesdtr.errors import DecisionError
from bayesdtr.plot.style import apart
from bayesdtr.trial.characteristics import OperatingCharacteristics, calibrate, power_curve, seam, size_for


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(seam, "simulated", two_arms.run)
    monkeypatch.setattr(seam, "truth_of", two_arms.truth)


def draws(figure: Figure) -> bool:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return isinstance(figure, Figure) and len(buffer.getvalue()) > 1000


def characteristics(equal=True):
    design = two_arms.design(120, looks=[60, 120], threshold=0.95, options=("A", "B", "C"))
    scenarios = {s.name: s for s in (two_arms.Arms("null", (0.3, 0.3, 0.3)), two_arms.Arms("B is $ better", (0.3, 0.5, 0.3)))}
    runs = {n: two_arms.run(design, s, 400, seed=1) for n, s in scenarios.items()}
    others = {n: two_arms.run(design, s, 400, seed=2) for n, s in scenarios.items()} if equal else {}
    return OperatingCharacteristics(design, scenarios, runs, others, {n: two_arms.truth(design, s) for n, s in scenarios.items()})


def test_operating_draws_the_table():
    oc = characteristics()
    data = plot.operating_data(oc)
    power = data[(data["label"] == "power") & (data["design"] == "equal")].iloc[0]
    assert power["value"] == oc.get("B is $ better", "power").equal.value and power["scenario"] == "B is $ better"
    size = data[(data["label"] == "size") & (data["scenario"] == "null") & (data["design"] == "adaptive")].iloc[0]
    assert size["low"] == oc.get("null", "size_quantile", "5%").adaptive.value
    assert set(data["panel"]) == {"probability", "share of patients", "patients in the trial"}
    assert draws(plot.operating(oc))
    alone = characteristics(equal=False)
    assert set(plot.operating_data(alone)["design"]) == {"adaptive"} and draws(plot.operating(alone))


def test_calibration_draws_the_curve_and_the_check():
    found = calibrate(two_arms.design(80, looks=[40, 80]), [two_arms.Arms(f"{p}", (p, p)) for p in (0.2, 0.5)], replicates=500, seed=1, check=300)
    data = plot.calibration_data(found)
    check = data[data["source"] == "check"]
    assert list(check["error"]) == [k / 300 for k in found.checked.values()] and (check["cut"] == found.cut).all()
    assert (data[data["source"] == "calibration"].groupby("null")["cut"].count() > 50).all()
    assert draws(plot.calibration(found))
    shaped = two_arms.design(80, looks=[40, 80], threshold=(0.99, 0.97))
    varying = calibrate(shaped, two_arms.Arms("only", (0.3, 0.3)), replicates=500, seed=1, check=300)
    assert draws(plot.calibration(varying))


def test_sizing_draws_curves_points_and_the_check():
    found = size_for(two_arms.design, two_arms.Arms("better", (0.2, 0.5)), between=(40, 200), replicates=300, seed=1, multiple=2)
    data = plot.sizing_data(found)
    assert data[data["source"] == "check"]["power"].iloc[0] == found.check.share
    assert set(data[data["source"] == "simulated"]["size"]) == set(found.curve().sizes)
    assert draws(plot.sizing(found))
    several = power_curve(two_arms.design, [two_arms.Arms("a", (0.2, 0.5)), two_arms.Arms("b", (0.2, 0.25))], [40, 80], replicates=100, seed=1)
    assert draws(plot.sizing(several))


def test_paths_keep_the_last_numbers_of_trials_that_stopped():
    design = two_arms.design(120, looks=[40, 80, 120], threshold=0.9)
    run = two_arms.run(design, two_arms.Arms("better", (0.2, 0.5)), 300, seed=1, keep="looks")
    data = plot.paths_data(run)
    believed = np.asarray(run["p_best_look"])[:, :, 1]
    last = [row[np.isfinite(row)][-1] for row in believed]
    mine = data[(data["panel"] == "P(best)") & (data["name"] == "B")]
    assert mine["mean"].iloc[-1] == pytest.approx(np.mean(last)) and list(mine["point"]) == [40, 80, 120]
    assert mine["low"].iloc[-1] == pytest.approx(np.quantile(last, 0.1))
    first = (run["stopped_by"] >= 0) & (run["stopped_at"] == 0)
    assert mine["going"].iloc[0] == 1 and mine["going"].iloc[1] == pytest.approx(1 - first.mean())
    assert draws(plot.paths(run))
    one = SimpleNamespace(run=run, id=3, records={n: v[3] for n, v in run.items()})
    alone = plot.paths_data(one)
    np.testing.assert_allclose(alone[(alone["panel"] == "P(best)") & (alone["name"] == "B")]["mean"].iloc[-1], last[3])
    assert draws(plot.paths(one))
    stopped = np.flatnonzero(first)[0]
    short = plot.paths_data(SimpleNamespace(run=run, id=stopped, records={n: v[stopped] for n, v in run.items()}))
    assert set(short["look"]) == {1}  # looks that never took place are not drawn
    with pytest.raises(DecisionError, match="keep='looks'"):
        plot.paths(two_arms.run(design, two_arms.Arms("better", (0.2, 0.5)), 10, seed=1))


def test_wrong_arguments_are_named():
    for name in ("operating", "calibration", "sizing"):
        with pytest.raises(DecisionError, match=rf"plot\.{name} draws what"):
            getattr(plot, name)(3)


def test_labels_are_kept_apart():
    assert apart([0.5, 0.5, 0.1], 0.1) == [0.5, 0.6, 0.1]
    assert apart([0.5, 0.52, 0.54], 0.1) == pytest.approx([0.5, 0.6, 0.7])
