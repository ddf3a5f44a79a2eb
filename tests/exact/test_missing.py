"""Missing values drawn with the parameters: against sums over every completion, written out, and against a model written by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import betaln, expit, logsumexp

import bayesdtr as dtr
from bayesdtr.decision.values import batch_error

# ---- a discrete study whose posterior given complete data is conjugate ------------------------------


@pytest.fixture(scope="module")
def saturated():
    """The study, a few patients, six entries missing; options after r = 1 have other probabilities than after r = 0."""
    study = dtr.Study(
        dtr.Baseline("x", levels=["l", "h"], missing="model"),
        dtr.Decision("a", ["a0", "a1"]),
        dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated(), missing="model"),
        dtr.Decision("b", {dtr.when(r=0): ["p", "q", "s"], dtr.when(r=1): ["q", "t"]}),
        dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()),
        utility="y",
    )
    rng = np.random.default_rng(5)
    n = 44
    x, a = rng.integers(0, 2, n), rng.integers(0, 2, n)
    r = (rng.random(n) < 0.2 + 0.3 * x + 0.3 * a).astype(int)
    b = np.where(r == 0, rng.choice(["p", "q", "s"], n), rng.choice(["q", "t"], n))
    y = (rng.random(n) < 0.2 + 0.4 * r + 0.2 * x).astype(int)
    frame = pd.DataFrame({"x": np.array(["l", "h"])[x], "a": np.array(["a0", "a1"])[a], "r": r.astype(float), "b": b, "y": y.astype(float)})
    q = np.flatnonzero(b == "q")
    frame.loc[[0, 3, 7, int(q[1])], "x"] = None
    frame.loc[[*q[:4], int(np.flatnonzero(b == "p")[0])], "r"] = np.nan  # the last one can only have been 0
    frame.loc[[1, 2], "y"] = np.nan
    return study, frame


def brute_force(frame):
    """Posterior mean of every missing entry and of some cell probabilities, by summing over all completions."""
    lost_x, lost_r = np.flatnonzero(frame["x"].isna()), np.flatnonzero(frame["r"].isna())
    eta = np.linspace(-8, 8, 4001)
    prior = np.exp(-0.5 * (eta / 1.5) ** 2)
    prior /= prior.sum()
    p_high = expit(np.sqrt(2) * eta)  # one sum-to-zero contrast of two levels: -1/sqrt(2) and +1/sqrt(2)
    a, b, y = (frame["a"] == "a1").to_numpy().astype(int), frame["b"].to_numpy(), frame["y"].to_numpy()
    chance = {0: {"p": 1 / 3, "q": 1 / 3, "s": 1 / 3}, 1: {"q": 1 / 2, "t": 1 / 2}}
    seen, logs, entries, cells = ~np.isnan(y), [], [], []
    for values in itertools.product((0, 1), repeat=len(lost_x) + len(lost_r)):
        x, r = (frame["x"] == "h").to_numpy().astype(int), np.nan_to_num(frame["r"].to_numpy()).astype(int)
        x[lost_x], r[lost_r] = values[: len(lost_x)], values[len(lost_x) :]
        chances = np.array([chance[k].get(o, 0.0) for k, o in zip(r, b, strict=True)])
        if (chances == 0).any():
            continue
        total = np.log(chances).sum() + np.log((prior * p_high ** x.sum() * (1 - p_high) ** (len(x) - x.sum())).sum())
        for i, j in itertools.product((0, 1), repeat=2):
            inside = (x == i) & (a == j)
            total += betaln(1 + r[inside].sum(), 1 + (1 - r[inside]).sum())
        for i, j, k, o in itertools.product((0, 1), (0, 1), (0, 1), "pqst"):
            inside = (x == i) & (a == j) & (r == k) & (b == o) & seen
            total += betaln(1 + y[inside].sum(), 1 + (1 - y[inside]).sum())
        inside = (x == 1) & (a == 1)
        logs.append(total)
        entries.append(values)
        cells.append((1 + r[inside].sum()) / (2 + inside.sum()))
    weight = np.exp(np.array(logs) - logsumexp(logs))
    return weight @ np.array(entries), weight @ np.array(cells)


def test_missing_levels_and_cells_agree_with_the_sum_over_all_completions(saturated):
    study, frame = saturated
    posterior = dtr.fit(study, frame, seed=3, draws=1500, warmup=500, chains=4, progress=False)
    entries, cell = brute_force(frame)
    drawn = np.concatenate([posterior.imputed["x"][1], posterior.imputed["r"][1]], axis=-1)
    error = np.maximum(batch_error(drawn), 1e-9)
    assert np.all(np.abs(drawn.mean(axis=(0, 1)) - entries) < 4.5 * error + 1e-9), (drawn.mean(axis=(0, 1)), entries, error)
    certain = np.array([False] * frame["x"].isna().sum() + [frame["b"][i] == "p" for i in np.flatnonzero(frame["r"].isna())])
    assert certain.sum() == 1 and (entries[certain] == 0).all() and (np.abs(entries[~certain] - 0.5) < 0.48).all()
    values = posterior.tree["posterior"]["r::probability"]
    high = values.sel({values.dims[-1]: "h, a1"}).values
    assert abs(high.mean() - cell) < 4.5 * batch_error(high)


# ---- a number, against a model written by hand --------------------------------------------------------


def by_hand(x, w, a, y, scales):
    """The default model of a Normal response and of a covariate, missing entries as parameters, in plain NumPyro."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    lost = np.flatnonzero(np.isnan(x))

    def standard(v, name):
        return (v - scales[name].location) / scales[name].sd

    def model():
        sx, sy = scales["x"].sd, scales["y"].sd
        level, slope = numpyro.sample("level", dist.Normal(scales["x"].location, 2.5 * sx)), numpyro.sample("slope", dist.Normal(0, sx))
        spread = numpyro.sample("spread", dist.HalfNormal(sx))
        mean_x = level + slope * standard(w, "w")
        entry = numpyro.sample("entry", dist.Normal(mean_x[lost], spread))
        whole = jnp.asarray(np.nan_to_num(x)).at[lost].set(entry)
        numpyro.sample("seen", dist.Normal(jnp.delete(mean_x, lost), spread), obs=np.delete(x, lost))
        zx, zw, arm = standard(whole, "x"), standard(w, "w"), (2 * a - 1) / np.sqrt(2)
        intercept = numpyro.sample("intercept", dist.Normal(scales["y"].location, 2.5 * sy))
        beta = numpyro.sample("beta", dist.Normal(0, sy).expand([2]))
        tau, tau_interaction = numpyro.sample("tau", dist.HalfNormal(0.5 * sy)), numpyro.sample("tau_interaction", dist.HalfNormal(0.25 * sy))
        treatment = tau * numpyro.sample("treatment_", dist.Normal(0, 1))
        interaction = tau_interaction * numpyro.sample("interaction_", dist.Normal(0, 1).expand([2]))
        numpyro.deterministic("treatment", treatment)
        numpyro.deterministic("interaction", interaction)
        mean = intercept + beta[0] * zw + beta[1] * zx + arm * (treatment + interaction[0] * zw + interaction[1] * zx)
        numpyro.sample("y", dist.Normal(mean, numpyro.sample("sigma", dist.HalfNormal(sy))), obs=y)

    return model


@pytest.mark.slow
def test_a_missing_number_agrees_with_a_joint_model_written_by_hand():
    import jax
    from numpyro.infer import MCMC, NUTS

    from bayesdtr.runtime import double_precision

    rng = np.random.default_rng(2)
    n = 80
    w, a = rng.normal(size=n), rng.integers(0, 2, n)
    x = 20 + 3 * w + 4 * rng.normal(size=n)
    y = 0.3 * x + a * (1 + 0.1 * (x - 20)) + rng.normal(size=n)
    x[rng.random(n) < 0.3] = np.nan
    study = dtr.Study(dtr.Baseline("w"), dtr.Baseline("x", missing="model"), dtr.Decision("a", ["a0", "a1"]), dtr.Response("y", dtr.Normal()),
                      utility="y")
    frame = pd.DataFrame({"w": w, "x": x, "a": np.array(["a0", "a1"])[a], "y": y})
    posterior = dtr.fit(study, frame, seed=7, draws=3000, warmup=700, chains=4, progress=False)
    with double_precision():
        sampler = MCMC(NUTS(by_hand(x, w, a, y, posterior.scales), target_accept_prob=0.95), num_warmup=1000, num_samples=4000, num_chains=4,
                       chain_method="sequential", progress_bar=False)
        sampler.run(jax.random.key(1))
        hand = {k: np.asarray(v) for k, v in sampler.get_samples(group_by_chain=True).items()}
    ours = {k: posterior.tree["posterior"][f"y::{k}"].values for k in ("beta", "treatment", "interaction", "sigma", "tau")}
    ours |= {"level": posterior.tree["posterior"]["x::intercept"].values, "slope": posterior.tree["posterior"]["x::beta"].values[..., 0],
             "entry": posterior.imputed["x"][1]}
    for name, drawn in ours.items():
        other = hand[name].reshape(*hand[name].shape[:2], *drawn.shape[2:])
        centre = drawn.mean(axis=(0, 1))
        for moment in (lambda v: v, lambda v, m=centre: (v - m) ** 2):
            error = np.hypot(batch_error(moment(drawn)), batch_error(moment(other)))
            apart = np.abs(moment(drawn).mean(axis=(0, 1)) - moment(other).mean(axis=(0, 1)))
            assert np.all(apart < 5 * error), (name, apart, error)
