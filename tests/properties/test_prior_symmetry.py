"""Before any data the default model favors no option: contrasts that sum to zero within each feasible set."""

import arviz_stats as azs
import known
import numpy as np
import pytest
import xarray as xr

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Study, optimize, when
from bayesdtr.data import fix_scales, read
from bayesdtr.decision.induction import committed, solve
from bayesdtr.decision.world import Rows, World
from bayesdtr.inference import nuts
from bayesdtr.inference.fit import assemble
from bayesdtr.model import compile_response, make_inputs
from bayesdtr.study.timeline import finite_values

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
# One compiled model for sets of two, three and four options.
SIZES = Study(
    Baseline("ward", levels=["two", "three", "four"]), Baseline("age"),
    Decision("arm", {when(ward="two"): ["a", "b"], when(ward="three"): ["c", "d", "e"], when(ward="four"): ["f", "g", "h", "i"]}),
    Response("y", Normal()), utility="y", scales={"y": (0.0, 1.0), "age": (0.0, 1.0)},
)
SYMMETRIC = Study(
    Decision("first", ["a", "b"]), Response("r", Bernoulli()), Decision("second", ["x", "y"]), Response("y", Normal()), utility="y",
    scales={"y": (0.0, 1.0)},
)


def prior_of(study: Study, draws: int):
    """The prior as a posterior: the same models, with every row of weight 0."""
    trajectories = read(study, known.cohort(study, n=60))
    scales = fix_scales(study, trajectories)
    compiled = {r.name: compile_response(study, r.name) for r in study.responses}
    blocks = [nuts.Block(c, make_inputs(c, trajectories.history(c.history), None, scales), trajectories.columns[n], np.zeros(trajectories.n))
              for n, c in compiled.items()]
    results = nuts.sample(blocks, seed=3, draws=draws, warmup=700, chains=4, show=False)
    return assemble(study, trajectories, scales, compiled, dict(zip(compiled, results, strict=True)), seed=3, engine="nuts")


def assert_exchangeable(regime, history) -> None:
    """P(best) is one over the number of options, within 4 SE of the indicators' own effective sample size."""
    study = regime.posterior.study
    shown = regime.recommend(known.frame_of([history]), every_option=True)
    size = len(shown)
    chains, draws = regime.posterior.shape
    decision = study[shown["decision"].iloc[0]]
    stage = [d.name for d in study.decisions].index(decision.name)
    labelled = {n.name for n in study.before(decision.name) if finite_values(n) and n not in study.responses}
    before = [n.name for n in study.before(decision.name)]
    columns = {n: np.array([study.code(n, history[n])], dtype=int if n in labelled else float) for n in before}
    rows = Rows(columns, None, 1)
    (answer,) = solve(World.of(regime.posterior), stage, rows, [committed])
    wins = answer.values[0][:, 0].argmax(axis=1).reshape(chains, draws)
    for line in shown.itertuples():
        indicator = xr.DataArray((wins == decision.options.index(line.option)).astype(float), dims=("chain", "draw"))
        assert float(indicator.mean()) == pytest.approx(line.p_best, abs=1e-12)
        error = float(azs.mcse(indicator, method="mean"))
        assert error < 0.02
        assert abs(line.p_best - 1 / size) < 4 * error


@pytest.fixture(scope="module")
def sizes():
    return optimize(prior_of(SIZES, 1500))


@pytest.mark.parametrize("ward", ["two", "three", "four"])
def test_every_option_is_equally_likely_to_be_best(sizes, ward):
    assert_exchangeable(sizes, {"ward": ward, "age": 0.7})


def test_prior_scales_are_what_is_declared(sizes):
    """tau ~ HalfNormal(.5), residual SD ~ HalfNormal(1), in units of the declared SD: means sqrt(2/pi) of that."""
    group = sizes.posterior.tree["posterior"]
    for name, scale in (("y::tau", 0.5), ("y::tau_interaction", 0.25), ("y::sigma", 1.0)):
        assert abs(float(group[name].mean()) - scale * np.sqrt(2 / np.pi)) < 4 * float(azs.mcse(group[name], method="mean"))
    assert group["y::treatment"].sizes["y::treatment_contrast"] == 1 + 2 + 3  # one fewer than options, set by set


def test_symmetric_tree_favors_no_first_option():
    regime = optimize(prior_of(SYMMETRIC, 1500))
    assert_exchangeable(regime, {"row": 0})  # any column: there is no covariate
    assert_exchangeable(regime, {"first": "b", "r": 1})
