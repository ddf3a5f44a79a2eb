"""Times to an event: laws against SciPy and quadrature, likelihoods of censored times, values of the two-transition test-bed."""

import itertools

import jax
import jax.numpy as jnp
import known
import numpy as np
import pandas as pd
import pytensor.tensor as pt
import pytest
import scipy.stats as st
from scipy.integrate import quad

from bayesdtr import Decision, QualityAdjusted, Response, Study, Survival, SurvivalAt, compare, optimize
from bayesdtr.data import fix_scales, read
from bayesdtr.inference.fit import blocks_of
from bayesdtr.model import compile_response, evaluate
from bayesdtr.model.censoring import _log_upper_tail
from bayesdtr.model.lifetimes import LogNormalTime, PiecewiseExponentialTime, WeibullTime
from bayesdtr.runtime import bridge, double_precision
from bayesdtr.simulators import transition_times as tt

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
BREAKS = [1.0, 3.0, 6.0]
HAZARDS = np.array([0.3, 0.05, 0.6, 0.2])


def _piecewise_survival(t: float) -> float:
    edges = [0.0, *BREAKS, np.inf]
    return float(np.exp(-sum(h * min(max(t - a, 0.0), b - a) for h, a, b in zip(HAZARDS, edges[:-1], edges[1:], strict=True))))


# A law, and its survival function by other means.
LAWS = {
    "weibull": (lambda: WeibullTime(jnp.array(1.2), jnp.array(0.7)), lambda t: st.weibull_min(0.7, scale=np.exp(1.2)).sf(t)),
    "lognormal": (lambda: LogNormalTime(jnp.array(1.2), jnp.array(0.8)), lambda t: st.lognorm(0.8, scale=np.exp(1.2)).sf(t)),
    "piecewise": (lambda: PiecewiseExponentialTime(jnp.log(HAZARDS), jnp.array(BREAKS)), _piecewise_survival),
}
TIMES = np.array([0.02, 0.8, 2.5, 5.0, 9.0, 30.0])


@pytest.mark.parametrize("name", LAWS)
def test_laws(name):
    with double_precision():
        law, survival = LAWS[name][0](), LAWS[name][1]
        curve = np.array([survival(t) for t in TIMES])
        np.testing.assert_allclose(np.exp([float(law.log_survival(jnp.array(t))) for t in TIMES]), curve, rtol=1e-10)
        np.testing.assert_allclose([float(law.cdf(jnp.array(t))) for t in TIMES], 1 - curve, rtol=1e-9, atol=1e-14)
        slope = [-float(jax.grad(lambda t: jnp.exp(law.log_survival(t)))(jnp.array(t))) for t in TIMES]
        np.testing.assert_allclose(np.exp([float(law.log_prob(jnp.array(t))) for t in TIMES]), slope, rtol=1e-9)
        for u in (1e-9, 0.1, 0.5, 0.99):
            np.testing.assert_allclose(float(law.cdf(law.icdf(jnp.array(u)))), u, rtol=1e-9)
        for horizon in (0.0, 0.5, 4.0, 20.0):
            pieces = [0.0, *(b for b in BREAKS if b < horizon), horizon]
            for rate in (0.0, 0.1):
                by_parts = sum(quad(lambda t, r=rate: survival(t) * np.exp(-r * t), a, b, epsabs=1e-11, epsrel=1e-11)[0]
                               for a, b in itertools.pairwise(pieces))
                found = law.restricted_mean(jnp.array(horizon)) if rate == 0 else law.discounted_mean(jnp.array(horizon), jnp.array(rate))
                np.testing.assert_allclose(float(found), by_parts, atol=1e-7 if rate else 1e-9)
        ends = [0.0, *BREAKS, 400.0]
        whole = sum(quad(survival, a, b)[0] for a, b in itertools.pairwise(ends))
        second = 2 * sum(quad(lambda t: t * survival(t), a, b, limit=200)[0] for a, b in itertools.pairwise(ends))
        np.testing.assert_allclose(float(law.mean), whole, rtol=1e-6)
        np.testing.assert_allclose(float(law.variance), second - whole**2, rtol=1e-4)


FAMILIES = {"weibull": {"shape": 0.7}, "lognormal": {"sigma": 0.8}, "piecewise": {"walk_scale": 0.5, "step": np.array([[-1.0, 0.4, 0.3]])}}


def _study(name: str, column: dict[str, str]) -> Study:
    family = Survival(name, **column, breaks=BREAKS if name == "piecewise" else None)
    return Study(Decision("a", ["p", "q"]), Response("t", family), utility=SurvivalAt("t", at=2.0), scales={"t": (0.4, 1.0)})


def _law(name: str, eta: float):
    """The law that the parameters below declare, location 0.4."""
    own = FAMILIES[name]
    if name == "weibull":
        return st.weibull_min(0.7, scale=np.exp(0.4 + eta)).sf
    if name == "lognormal":
        return st.lognorm(0.8, scale=np.exp(0.4 + eta)).sf
    walk = np.concatenate([[0.0], np.cumsum(own["step"][0])])
    law = PiecewiseExponentialTime(jnp.asarray(walk - walk.mean() - 0.4 - eta), jnp.array(BREAKS))
    return lambda t: np.exp(np.asarray(law.log_survival(jnp.asarray(t))))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("interval", [False, True])
def test_likelihoods(name, interval):
    """An event counts by the slope of the survival curve, a censored time by its height, an interval by the difference of two heights."""
    time = np.array([0.4, 0.4, 2.0, 7.5, 7.5, 0.9])
    event = np.array([1, 0, 1, 0, 1, 1])
    upper = np.array([0.4, np.inf, 2.9, np.nan, 7.5, 8.0])
    arm = np.array(["p", "q", "q", "p", "q", "p"])
    frame = pd.DataFrame({"a": arm, "t": time, "died": event, "until": upper})
    study = _study(name, {"upper": "until"} if interval else {"event": "died"})
    trajectories = read(study, frame)
    compiled = compile_response(study, "t")
    (block,) = blocks_of(study, trajectories, fix_scales(study, trajectories))
    draw = {"intercept": 0.1, "treatment": np.array([0.6]), "tau": 1.0, **FAMILIES[name]}
    u = {n: np.log(v) if np.ndim(v) == 0 and n not in ("intercept",) else np.asarray(v, dtype=float) for n, v in draw.items()}
    values = {n: u[n.removesuffix("_log__")] for n in compiled.value_names}
    with double_precision():
        rows, gradient = jax.value_and_grad(lambda v: compiled.log_density(v, block.inputs, block.y)[0].sum())(values)
        found = np.asarray(compiled.log_density(values, block.inputs, block.y)[0])
        assert all(np.isfinite(np.asarray(g)).all() for g in gradient.values()) and np.isfinite(rows)
        wanted = []
        for i in range(len(time)):
            survival = _law(name, 0.1 + 0.6 * (1 if arm[i] == "q" else -1) / np.sqrt(2))
            step = 1e-5
            slope = -(survival(time[i] + step) - survival(time[i] - step)) / (2 * step)
            if interval:
                known_upper = upper[i] < np.inf
                wanted.append(survival(time[i]) - (survival(upper[i]) if known_upper else 0.0) if upper[i] != time[i] else slope)
            else:
                wanted.append(slope if event[i] else survival(time[i]))
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-6)


def test_the_normal_tail_has_two_derivatives_wherever_a_censored_time_lies():
    """Log tail, hazard and curvature against SciPy, for many patients at once; between branches to the series' error."""
    z = pt.dvector("z")
    at = np.array([-9.0, -1.0, 0.0, 0.7, 3.0, 12.0, 24.999, 25.001, 60.0, 900.0])
    with double_precision():
        tail = bridge().get_jaxified_graph(inputs=[z], outputs=[_log_upper_tail(z)])
        slope = jax.grad(lambda v: tail(v)[0].sum())
        found, first = np.asarray(tail(jnp.asarray(at))[0]), np.asarray(slope(jnp.asarray(at)))
        second = np.asarray(jax.jvp(slope, (jnp.asarray(at),), (jnp.ones(len(at)),))[1])
    hazard = np.exp(st.norm.logpdf(at) - st.norm.logsf(at))
    np.testing.assert_allclose(found, st.norm.logsf(at), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(first, -hazard, rtol=1e-9)
    np.testing.assert_allclose(second[:-1], -(hazard * (hazard - at))[:-1], rtol=1e-6)  # at 900 the formula on the right has no digits left


@pytest.mark.parametrize("name", FAMILIES)
def test_a_larger_predictor_is_a_longer_life(name):
    study = _study(name, {"event": "died"})
    compiled = compile_response(study, "t")
    inputs = {"a": np.array([0, 1]), "t::event": np.ones(2), "t::location": np.float64(0.4), "t::sd": np.float64(1.0)}
    draws = {n: np.asarray(v, dtype=float)[None] for n, v in {"intercept": 0.1, "treatment": np.array([0.6]), "tau": 1.0, **FAMILIES[name]}.items()}
    low, high = evaluate(compiled, draws, inputs, "survival", np.array([2.0, 2.0]))[0]
    assert low < high
    with double_precision():
        np.testing.assert_allclose([low, high], [_law(name, 0.1 - 0.6 / np.sqrt(2))(2.0), _law(name, 0.1 + 0.6 / np.sqrt(2))(2.0)],
                                   rtol=1e-9)


# ---- two transition times -------------------------------------------------------------------------


def true_posterior(study: Study, draws: int = 8):
    """A posterior that knows the parameters of the two-transition test-bed."""
    frame = tt.simulate(300, seed=1)
    scales = fix_scales(study, read(study, frame))
    coords = compile_response(study, "t2").coords
    contrast = np.array([-1, 1]) / np.sqrt(2)
    first, second = -np.log(tt.FIRST) - scales["t1"].location, -np.log(tt.SECOND) - scales["t2"].location
    assert list(coords["combination_contrast"]) == ["second[1 vs 0] × first[1 vs 0]"]
    both, others = np.array([(np.outer(contrast, contrast) * second).sum()]), np.zeros(len(coords["interaction_contrast"]))
    known_values = {
        "t1": {"intercept": first.mean(), "tau": 1.0, "treatment": np.array([contrast @ first]), "shape": 1.0},
        "t2": {"intercept": second.mean(), "beta": np.zeros(1), "tau": 1.0, "tau_interaction": 1.0, "interaction": others, "shape": 1.0,
               "tau_combination": 1.0, "combination": both,
               "treatment": np.array([(contrast[:, None] * second).sum() / 2, (contrast * second).sum() / 2])},
    }
    drawn = {r: {p: np.broadcast_to(np.asarray(v, dtype=float), (2, draws, *np.shape(v))) for p, v in d.items()} for r, d in known_values.items()}
    return known.posterior_with(study, drawn, frame)


def with_utility(utility) -> Study:
    study = tt.study()
    return Study(*study.timeline, utility=utility)


def test_restricted_means_of_the_four_regimes():
    """Cells of the first time are wide in its tail: 1e-3 of a month is the quadrature's error, a few hundredths Monte Carlo's."""
    posterior = true_posterior(tt.study())
    rows = compare(posterior).rows
    published = (16.965783, 15.229205, 15.211740, 15.906890)
    np.testing.assert_allclose([r.value for r in tt.truth().regimes.values()],
                               published, atol=1e-6)
    np.testing.assert_allclose([r.value.mean for r in rows], published, atol=1e-3)
    regime = optimize(posterior)
    np.testing.assert_allclose(regime.value().mean, published[0], atol=1e-3)
    assert regime.rules()[0] == "first: 0"
    fitted = optimize(posterior, method="regression").value()
    assert abs(fitted.mean - published[0]) < 4 * 8.0 / np.sqrt(16 * 4000)  # SD of the restricted time over simulated patients


def test_survival_and_quality_adjusted_time_of_the_four_regimes():
    rows = compare(true_posterior(with_utility(SurvivalAt(["t1", "t2"], at=12)))).rows
    wanted = [tt.survival(a, b, 12.0) for a in (0, 1) for b in (0, 1)]
    np.testing.assert_allclose([r.value.mean for r in rows], wanted, atol=1e-4)
    rows = compare(true_posterior(with_utility(QualityAdjusted({"t1": 0.7, "t2": 0.4}, horizon=24, discount_rate=0.03)))).rows
    for row, (a, b) in zip(rows, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        first = quad(lambda t, a=a: np.exp(-0.03 * t - tt.FIRST[a] * t), 0, 24)[0]
        either = quad(lambda t, a=a, b=b: np.exp(-0.03 * t) * tt.survival(a, b, t), 0, 24)[0]
        np.testing.assert_allclose(row.value.mean, 0.7 * first + 0.4 * (either - first), atol=1e-3)


def test_strata_have_hazards_of_their_own():
    """With a walk for each option, the law of a patient is that of the own option's walk."""
    family = Survival("piecewise", event="died", breaks=BREAKS, by=["a"])
    study = Study(Decision("a", ["p", "q"]), Response("t", family), utility=SurvivalAt("t", at=2.0))
    compiled = compile_response(study, "t")
    assert compiled.coords["stratum"] == ("p", "q")
    step = np.array([[-1.0, 0.4, 0.3], [0.5, 0.5, -2.0]])
    draws = {"intercept": np.zeros(1), "treatment": np.zeros((1, 1)), "tau": np.ones(1), "walk_scale": np.ones(1), "step": step[None]}
    inputs = {"a": np.array([0, 1]), "t::event": np.ones(2), "t::location": np.float64(0.4), "t::sd": np.float64(1.0)}
    found = evaluate(compiled, draws, inputs, "survival", np.array([5.0, 5.0]))[0]
    for s, value in zip(step, found, strict=True):
        walk = np.concatenate([[0.0], np.cumsum(s)])
        hazard = np.exp(walk - walk.mean() - 0.4)
        np.testing.assert_allclose(value, np.exp(-(hazard * np.array([1.0, 2.0, 2.0, 0.0])).sum()), rtol=1e-9)


def test_interval_censored_times_are_checked_and_fitted_without_latent_times():
    rng = np.random.default_rng(0)
    time = rng.weibull(1.5, 300) * 4
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], 300), "t": np.maximum(np.floor(time), 0.01), "until": np.floor(time) + 1})
    frame.loc[time > 6, ["t", "until"]] = [6.0, np.inf]
    study = Study(Decision("a", ["p", "q"]), Response("t", Survival(upper="until")), utility=SurvivalAt("t", at=3.0))
    (block,) = blocks_of(study, read(study, frame), fix_scales(study, read(study, frame)))
    values = {n: np.zeros(np.shape(v)) for n, v in block.compiled.initial(block.inputs).items()}
    with double_precision():
        gradient = jax.grad(lambda v: block.compiled.potential(v, block.inputs, block.y, block.weight))(values)
    assert all(np.isfinite(np.asarray(g)).all() for g in gradient.values())
