"""Missing values drawn with the parameters: against sums over every completion, written out, and against a model written by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from known import chosen
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


@pytest.fixture(scope="module")
def fitted(saturated):
    return dtr.fit(*saturated, seed=3, draws=1500, warmup=500, chains=4, progress=False)


def test_missing_levels_and_cells_agree_with_the_sum_over_all_completions(saturated, fitted):
    frame, posterior = saturated[1], fitted
    entries, cell = brute_force(frame)
    drawn = np.concatenate([posterior.imputed["x"][1], posterior.imputed["r"][1]], axis=-1)
    error = np.maximum(batch_error(drawn), 1e-9)
    assert np.all(np.abs(drawn.mean(axis=(0, 1)) - entries) < 4.5 * error + 1e-9), (drawn.mean(axis=(0, 1)), entries, error)
    certain = np.array([False] * frame["x"].isna().sum() + [frame["b"][i] == "p" for i in np.flatnonzero(frame["r"].isna())])
    assert certain.sum() == 1 and (entries[certain] == 0).all() and (np.abs(entries[~certain] - 0.5) < 0.48).all()
    values = posterior.tree["posterior"]["r::probability"]
    high = values.sel({values.dims[-1]: "h, a1"}).values
    assert abs(high.mean() - cell) < 4.5 * batch_error(high)


def values_literally(posterior, x):
    """Value of every embedded regime under each draw for given levels of the covariate, [draw, regime]; patients count alike."""
    draws = {n: posterior.tree["posterior"][f"{n}::probability"] for n in ("r", "y")}
    r, y = ({str(c): v[..., k].ravel() for k, c in enumerate(d[d.dims[-1]].values)} for d, v in ((d, d.values) for d in draws.values()))
    found = []
    for rules in posterior.study.embedded():
        first, second = posterior.study.decisions
        a = chosen(rules, first, {})
        after = {k: chosen(rules, second, {"a": a, "r": k}) for k in (0, 1)}
        by_level = [sum((r[f"{level}, {a}"] if k else 1 - r[f"{level}, {a}"]) * y[f"{level}, {a}, {k}, {after[k]}"] for k in (0, 1))
                    for level in "lh"]
        high = (x == 1).mean(axis=1)
        found.append((1 - high) * by_level[0] + high * by_level[1])
    return np.stack(found, axis=1)


def test_values_of_regimes_average_over_what_is_missing_of_the_population(fitted):
    ours = dtr.compare(fitted).draws["value"].values.reshape(fitted.size, -1)
    picked = np.linspace(0, fitted.size - 1, 20).astype(int)
    x = np.stack([fitted.completed(int(k)).columns["x"] for k in picked])
    literally = values_literally(fitted, x[np.arange(fitted.size) % 20])
    apart = ours - literally  # what is left is the Bayesian bootstrap over patients, of mean zero
    assert (np.abs(apart.mean(axis=0)) < 4.5 * apart.std(axis=0) / np.sqrt(fitted.size)).all()
    rows, drawn = fitted.imputed["x"]
    every = np.repeat(fitted.trajectories.columns["x"][None], fitted.size, axis=0)
    every[:, rows] = drawn.reshape(fitted.size, -1)
    joint = values_literally(fitted, every)
    spread = np.std([values_literally(fitted, np.repeat(x[[k]], fitted.size, axis=0)).mean(axis=0) for k in range(20)], axis=0)
    assert (np.abs(literally.mean(axis=0) - joint.mean(axis=0)) < 4.5 * spread / np.sqrt(20) + 1e-3).all()


def test_draws_of_what_is_missing_survive_a_file_and_complete_the_patients(fitted, tmp_path):
    again = dtr.load(fitted.save(tmp_path / "missing.nc"))
    for name, (rows, values) in fitted.imputed.items():
        np.testing.assert_array_equal(again.imputed[name][0], rows)
        np.testing.assert_array_equal(again.imputed[name][1], values)
        assert not again.trajectories.observed(name)[rows].any() and again.completed(7).observed(name)[rows].all()
    assert again.trajectories.notes == fitted.trajectories.notes
    assert np.isfinite(again.tree["posterior_predictive"]["y"].values[..., again.trajectories.observed("y")]).all()


def test_the_same_seed_gives_the_same_draws_and_other_engines_say_what_they_need(saturated, fitted):
    study, frame = saturated
    again = dtr.fit(study, frame, seed=3, draws=100, warmup=500, chains=1, progress=False)
    for name, (_, values) in again.imputed.items():
        np.testing.assert_array_equal(values[0], fitted.imputed[name][1][0, :100])
    with pytest.raises(dtr.InferenceError, match=r"takes complete histories, and 'x', 'r' has missing values; use engine='nuts'"):
        dtr.fit(study, frame, seed=3, engine="exact", draws=100)
    with pytest.raises(dtr.InferenceError, match=r"'x' is missing for some"):
        from bayesdtr.inference import log_likelihood

        log_likelihood(fitted, "r")


# ---- many kinds at once ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drawn_values_respect_families_and_the_options_received():
    study = dtr.Study(
        dtr.Baseline("visits", missing=dtr.Poisson()), dtr.Baseline("ill", missing=dtr.Bernoulli()), dtr.Baseline("age", missing="model"),
        dtr.Decision("a", ["a0", "a1"]),
        dtr.Response("sbp", dtr.Normal(), missing="model"), dtr.Response("state", dtr.Ordinal(["low", "mid", "high"]), missing="model"),
        dtr.Decision("b", {dtr.when(sbp=dtr.below(140), state=dtr.one_of("low", "mid")): ["p", "q"],
                           dtr.when(sbp=dtr.at_least(140), state=dtr.one_of("low", "mid")): ["up", "q"], dtr.when(state="high"): ["stop"]}),
        dtr.Response("y", dtr.Normal()),
        utility="y", cluster="site",
    )
    rng = np.random.default_rng(4)
    n = 90
    visits, ill, age, a = rng.poisson(3, n), rng.integers(0, 2, n), rng.normal(60, 8, n), rng.integers(0, 2, n)
    sbp, state = 138 + 0.5 * (age - 60) - 6 * a + 8 * rng.normal(size=n), rng.choice(3, n, p=[0.4, 0.4, 0.2])
    b = np.where(state == 2, "stop", np.where(rng.random(n) < 0.5, "q", np.where(sbp >= 140, "up", "p")))
    frame = pd.DataFrame({
        "site": rng.choice(["s", "t", "u"], n), "visits": visits.astype(float), "ill": ill.astype(float), "age": age,
        "a": np.array(["a0", "a1"])[a], "sbp": sbp, "state": np.array(["low", "mid", "high"])[state].astype(object), "b": b,
        "y": 0.1 * sbp + state + rng.normal(size=n),
    })
    for name in ("visits", "ill", "age", "sbp", "state"):
        frame.loc[rng.random(n) < 0.2, name] = None
    posterior = dtr.fit(study, frame, seed=1, draws=150, warmup=250, chains=2, progress=False)
    drawn = {n: (rows, v.reshape(-1, v.shape[-1])) for n, (rows, v) in posterior.imputed.items()}
    assert list(drawn) == ["visits", "ill", "age", "sbp", "state"]
    assert all(np.isfinite(v).all() for _, v in drawn.values())
    visits, ill = drawn["visits"][1], drawn["ill"][1]
    assert (visits == np.round(visits)).all() and (visits >= 0).all() and set(np.unique(ill)) == {0.0, 1.0}
    received = frame["b"].to_numpy()
    for option, low, high in (("p", -np.inf, 140), ("up", 140, np.inf)):
        inside = received[drawn["sbp"][0]] == option
        values = drawn["sbp"][1][:, inside]
        assert inside.any() and (values >= low).all() and (values < high).all() and (values.std(axis=0) > 0.5).all()
    stopped = received[drawn["state"][0]] == "stop"
    assert stopped.any() and (drawn["state"][1][:, stopped] == 2).all() and (drawn["state"][1][:, ~stopped] < 2).all()
    regime = dtr.optimize(posterior)
    assert np.isfinite(regime.value_draws).all()


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
