"""Formulas, smooth curves, sparse priors and sequences: densities against NumPy and SciPy, and priors that favor no option."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import scipy.stats as st

from bayesdtr import Baseline, Bernoulli, Decision, Hierarchical, Normal, Response, Study, when
from bayesdtr.model import CompiledResponse, compile_response, make_inputs
from bayesdtr.model.build import build
from bayesdtr.runtime import double_precision
from bayesdtr.study import Scale
from bayesdtr.study.predictor import SMOOTH_EDGE, SMOOTH_SIZE

SCALES = {"age": Scale(50.0, 10.0), "bmi": Scale(25.0, 4.0), "y": Scale(2.0, 3.0)}
N = 40


def study(**options) -> Study:
    """Three first options, and a second decision whose sets overlap."""
    return Study(
        Baseline("age"), Baseline("sex", levels=["f", "m"]), Baseline("bmi"), Decision("first", ["a", "b", "c"]), Response("r", Bernoulli()),
        Decision("second", {when(r=0): ["x", "y"], when(r=1): ["stay", "x"]}),
        Response("y", Normal(), model=Hierarchical(covariates="age*C(sex) + s(bmi)", modifiers="C(sex) + s(bmi)", **options)), utility="y",
    )


def history() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    r = rng.integers(0, 2, N).astype(float)
    second = np.where(r == 0, rng.integers(0, 2, N), rng.choice([2, 0], N))  # codes along x, y, stay
    return {"age": rng.normal(50, 10, N), "sex": rng.integers(0, 2, N), "bmi": rng.normal(25, 4, N), "first": rng.integers(0, 3, N), "r": r,
            "second": second}


def helmert(code: np.ndarray, options: list[int]) -> np.ndarray:
    """Contrasts of some options, (row, contrast), zero for other codes; written out, not taken from the package."""
    table = {2: [[-1], [1]], 3: [[-1, -1], [1, -1], [0, 2]]}[len(options)]
    norm = {2: np.sqrt([2.0]), 3: np.sqrt([2.0, 6.0])}[len(options)]
    out = np.zeros((len(code), len(options) - 1))
    for row, option in enumerate(options):
        out[code == option] = np.array(table[row]) / norm
    return out


def curve(x: np.ndarray) -> np.ndarray:
    j = np.arange(1, SMOOTH_SIZE + 1)
    return np.sin(j * np.pi * (np.clip(x, -3, 3)[:, None] + SMOOTH_EDGE) / (2 * SMOOTH_EDGE)) / np.sqrt(SMOOTH_EDGE)


def design(h: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the response's predictor, literally."""
    age, bmi, sex, r = (h["age"] - 50) / 10, (h["bmi"] - 25) / 4, helmert(h["sex"], [0, 1]), 2 * h["r"] - 1
    first = helmert(h["first"], [0, 1, 2])
    second = np.column_stack([helmert(h["second"], [0, 1]) * (h["r"] == 0)[:, None], helmert(h["second"], [2, 0]) * (h["r"] == 1)[:, None]])
    contrasts = np.column_stack([first, second])
    interaction, combination, smooth = [], [], []
    for k, c in enumerate(contrasts.T):
        interaction += [c * o for o in [sex[:, 0], bmi] + ([r] if k < 2 else [])]  # r is fixed within the second decision's sets
        combination += [c * o for o in first.T] if k >= 2 else []
        smooth.append(c[:, None] * curve(bmi))
    return {"beta": np.column_stack([age, sex, age[:, None] * sex, bmi, r]), "treatment": contrasts, "interaction": np.column_stack(interaction),
            "combination": np.column_stack(combination), "smooth": curve(bmi), "interaction_smooth": np.column_stack(smooth)}


GROUP = [0, 1, 2] * 2 + [3, 4] + [5, 6]
"""Group of each interaction: a set of options with one variable."""


def spectral(spread: float, length: float) -> np.ndarray:
    frequency = np.arange(1, SMOOTH_SIZE + 1) * np.pi / (2 * SMOOTH_EDGE)
    return spread * np.sqrt(np.sqrt(2 * np.pi) * length * np.exp(-0.5 * (length * frequency) ** 2))


def half(law, x, scale):
    return np.sum(np.log(2) + law.logpdf(x, scale=scale))


@functools.cache
def compiled(interactions: str, sequences: bool) -> CompiledResponse:
    return compile_response(study(interactions=interactions, sequences=sequences), "y")


def inputs_of(c: CompiledResponse, h: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return make_inputs(c, h, None, SCALES)


def somewhere(c: CompiledResponse, inputs, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    with double_precision():
        u = {n: np.asarray(v) + 0.3 * rng.standard_normal(v.shape) for n, v in c.initial(inputs).items()}
        for n, (mean, scale) in c.linear.prior(u, inputs).items():  # rough curves have scales near 0, so coefficients are drawn within theirs
            u[n] = np.asarray(mean) + np.asarray(scale) * rng.standard_normal(u[n].shape)
    return u


def interaction_scale(kind: str, p: dict[str, np.ndarray]) -> np.ndarray:
    group = np.array(GROUP)
    if kind == "normal":
        return np.full(10, p["tau_interaction"])
    if kind == "horseshoe":
        free, slab = p["tau_interaction"] * p["local_interaction"], 3 * np.sqrt(p["slab_interaction"])
        return np.sqrt(free**2 * slab**2 / (slab**2 + free**2))[group]
    size = np.bincount(group)[group]
    variance = np.array([1 / 3 / 2, 1 / 3, 1 / 3] * 2 + [1 / 4, 1 / 2] * 2)
    return 3 * np.sqrt(p["r2_interaction"] / (1 - p["r2_interaction"]) * p["share_interaction"][group] / size / variance)


def log_prior(kind: str, sequences: bool, p: dict[str, np.ndarray]) -> float:
    """Log prior density of the parameters as they are, without Jacobians."""
    total = st.norm(2, 7.5).logpdf(p["intercept"]) + st.norm(0, 3).logpdf(p["beta"]).sum() + half(st.norm, p["tau"], 1.5)
    total += st.norm(0, p["tau"]).logpdf(p["treatment"]).sum() + half(st.norm, p["sigma"], 3)
    total += st.norm(0, p["tau_combination"]).logpdf(p["combination"]).sum() + half(st.norm, p["tau_combination"], 3)
    if kind == "normal":
        total += half(st.norm, p["tau_interaction"], 0.75)
    elif kind == "horseshoe":
        total += half(st.cauchy, p["tau_interaction"], 3 * 3 / (7 - 3) / np.sqrt(300)) + half(st.cauchy, p["local_interaction"], 1)
        total += st.invgamma(2, scale=2).logpdf(p["slab_interaction"])
    else:
        total += st.beta(1, 4).logpdf(p["r2_interaction"]) + st.dirichlet(np.full(7, 0.5)).logpdf(p["share_interaction"])
    total += st.norm(0, interaction_scale(kind, p)).logpdf(p["interaction"]).sum()
    for name, scale, copies in (("smooth", 1.5, [0]), ("interaction_smooth", 0.75, [0, 0, 1, 2])):
        total += half(st.norm, p[f"{name}_sd"], scale) + st.invgamma(9, scale=9).logpdf(p[f"{name}_length"]).sum()
        scales = np.concatenate([spectral(p[f"{name}_sd"][i], p[f"{name}_length"][i]) for i in copies])
        total += st.norm(0, scales).logpdf(p[name]).sum()
    if sequences:
        total += half(st.norm, p["tau_sequence"], 0.75) + st.norm(0, p["tau_sequence"]).logpdf(p["sequence_effect"]).sum()
    return float(total)


def log_jacobian(c: CompiledResponse, u, inputs) -> float:
    """Of the map from unconstrained parameters; of a simplex without its last share."""
    total = 0.0
    for name in u:
        plain = next(p for p in c.parameters if name in (p, *(f"{p}_{how}__" for how in ("log", "logodds", "simplex"))))

        def one(v, name=name, plain=plain):
            out = c.constrain({**u, name: v}, inputs)[plain]
            return (out[:-1] if "simplex" in name else out).ravel()

        matrix = jax.jacobian(one)(jnp.asarray(u[name]))
        total += float(jnp.linalg.slogdet(matrix.reshape(u[name].size, u[name].size))[1]) if u[name].size else 0.0
    return total


CASES = [("normal", True), ("horseshoe", False), ("r2d2", True)]


@pytest.mark.parametrize(("kind", "sequences"), CASES)
def test_the_density_is_that_of_numpy_and_scipy(kind, sequences):
    c, h = compiled(kind, sequences), history()
    inputs = inputs_of(c, h)
    u = somewhere(c, inputs, 1)
    y = np.random.default_rng(2).normal(2, 3, N)
    with double_precision():
        p = {n: np.asarray(v) for n, v in c.constrain(u, inputs).items()}
        rows, prior = (np.asarray(v) for v in c.log_density(u, inputs, y))
        jacobian = log_jacobian(c, u, inputs)
    eta = p["intercept"] + sum(matrix @ p[name] for name, matrix in design(h).items())
    if sequences:
        labels = [f"{'abc'[f]}, {int(r)}, {('x', 'y', 'stay')[s]}" for f, r, s in zip(h["first"], h["r"], h["second"], strict=True)]
        eta += p["sequence_effect"][[c.coords["sequence"].index(label) for label in labels]]
    np.testing.assert_allclose(rows, st.norm(eta, p["sigma"]).logpdf(y), rtol=1e-10)
    assert float(prior) == pytest.approx(log_prior(kind, sequences, p) + jacobian, abs=1e-5)  # PyTensor keeps logs of constants in 32 bits


@pytest.mark.parametrize(("kind", "sequences"), CASES)
def test_every_structure_is_latent_gaussian(kind, sequences):
    """Rows given predictors, predictors linear in coefficients, coefficients Normal given scales: together the same density."""
    c, h = compiled(kind, sequences), history()
    inputs, y = inputs_of(c, h), np.random.default_rng(3).normal(2, 3, N)
    assert c.linear is not None and c.linear.affine
    latent = {"intercept", "beta", "treatment", "interaction", "combination", "smooth", "interaction_smooth"}
    latent |= ({"sequence_effect"} if sequences else set())
    assert set(c.linear.latent) == latent
    with double_precision():
        u, v = somewhere(c, inputs, 4), somewhere(c, inputs, 5)
        eta = c.linear.eta(u, inputs)
        np.testing.assert_allclose(c.linear.rows(eta, u, inputs, y), c.log_density(u, inputs, y)[0], rtol=1e-10)
        both = c.linear.eta({n: 2 * u[n] - v[n] for n in u}, inputs)
        np.testing.assert_allclose(both, 2 * eta - c.linear.eta(v, inputs), atol=1e-10)
        moved = {**u, **{n: -1.3 * u[n] for n in c.linear.latent}}
        laws = {n: st.norm(np.asarray(mean), np.asarray(scale)) for n, (mean, scale) in c.linear.prior(u, inputs).items()}
        change = sum(float(np.sum(law.logpdf(moved[n]) - law.logpdf(u[n]))) for n, law in laws.items())
        assert float(c.log_density(moved, inputs, y)[1] - c.log_density(u, inputs, y)[1]) == pytest.approx(change, rel=1e-8)


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
def test_the_basis_is_the_gaussian_process(length):
    """Within the range the covariance is the squared exponential's, to 1 % of its variance."""
    x = np.linspace(-3, 3, 61)
    matrix = curve(x) * spectral(1.0, length)
    np.testing.assert_allclose(matrix @ matrix.T, np.exp(-0.5 * ((x[:, None] - x) / length) ** 2), atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sequences"), CASES)
def test_the_prior_favors_no_option(kind, sequences):
    """P(option best) is 1 over their number, within 4 SE of 4000 draws, for the three first options and both second sets."""
    c, asked = compiled(kind, sequences), study(interactions=kind, sequences=sequences)
    model, made, _ = build(asked, asked["y"], ())
    free = [v for v in model.free_RVs if v is not made.variable]
    draws = dict(zip([v.name for v in free], pm.draw(free, 4000, random_seed=7), strict=True))
    asked_at = (("first", [0, 1, 2], 1.0, {"second": 0}), ("second", [0, 1], 0.0, {"first": 2}), ("second", [2, 0], 1.0, {"first": 0}))
    for name, codes, r, other in asked_at:
        h = {n: np.repeat(v, len(codes)) for n, v in {"age": [61.0], "sex": [1], "bmi": [31.0], "r": [r], "first": [0], "second": [0]}.items()}
        h |= {n: np.repeat([v], len(codes)) for n, v in other.items()} | {name: np.array(codes)}
        with double_precision():
            inputs = inputs_of(c, h)
            means = np.asarray(jax.vmap(lambda p, inputs=inputs: c.predict(p, inputs).mean)({n: jnp.asarray(draws[n]) for n in c.parameters}))
        best = np.bincount(means.argmax(axis=1), minlength=len(codes)) / 4000
        share = 1 / len(codes)
        assert np.abs(best - share).max() < 4 * np.sqrt(share * (1 - share) / 4000)
