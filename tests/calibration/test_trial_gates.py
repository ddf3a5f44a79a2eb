"""Gates of the fast engine of looks, on a two-stage logistic SMART with covariates and adaptive allocation.

Calibration over the prior; the probabilities that NUTS finds on the same interim looks; importance weights' tails; final analyses. NUTS takes
some ten minutes of computing and is kept, with the package's compiled programs, until anything in the package changes.
"""

import io
import os

import numpy as np
import pandas as pd
import pytest
from look_gates import CHAINS, DRAWS, QUANTITIES, SIZE, STUDY, answers, gap, interim, one_chain, summaries, table
from look_sbc import ranks, simulate, transforms
from sbc import extremeness, threshold

import bayesdtr as dtr
from bayesdtr import kept
from bayesdtr.study.timeline import labels_of
from bayesdtr.trial.analysis import Analysis
from bayesdtr.trial.analysis.laplace import LaplaceAnalyst
from bayesdtr.trial.analysis.nuts import NutsAnalyst

FITS = int(os.environ.get("BAYESDTR_SBC_SIZE", 1000))
PAIRS = int(os.environ["BAYESDTR_GATE_LOOKS"]) if "BAYESDTR_GATE_LOOKS" in os.environ else None
"""Interim looks compared with NUTS: all 220, or fewer to look quickly."""
FINAL = 10
LARGEST_GAP = 0.02
MOST_DISAGREE = 0.01
LEAST_KHAT = 0.99

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def engine():
    """As simulations use it, with the draws that it has by default."""
    return LaplaceAnalyst(STUDY, Analysis(), SIZE)


@pytest.fixture(scope="session")
def looks():
    return interim(PAIRS)


@pytest.fixture(scope="session")
def pair(engine, looks):
    """The engine's look, its answers, and those of NUTS by chain."""
    look = engine.look(looks.data, np.arange(looks.data.size), 0)
    return look, {q: summaries(v) for q, v in answers(look, looks).items()}, nuts_answers(looks)


def nuts_answers(given):
    """NUTS's :func:`summaries` of every question, ``{quantity: {summary: [chain, batch, entry]}}``, computed once for a version of the package."""
    parts = [*(str(v.tobytes()) for v in given.data.columns.values()), *(str(a[0].tobytes()) + str(a[1]) for a in given.asked)]
    name = kept.digest("gates of looks", str((CHAINS, DRAWS)), *parts)
    if (found := kept.read(name)) is not None:
        saved = np.load(io.BytesIO(found))
        return {q: {k.split(" ")[1]: saved[k] for k in saved.files if k.split(" ")[0] == q} for q in QUANTITIES}
    engine = NutsAnalyst(STUDY, Analysis(), SIZE, draws=DRAWS)
    chains = [one_chain(engine, given, c) for c in range(CHAINS)]
    made = {q: {s: np.stack([c[q][s] for c in chains]) for s in chains[0][q]} for q in QUANTITIES}
    content = io.BytesIO()
    np.savez(content, **{f"{q} {s}": v for q, t in made.items() for s, v in t.items()})
    kept.write(name, content.getvalue())
    return made


@pytest.fixture(scope="session")
def extreme(engine):
    """How far each quantity's ranks are from uniform, scales' apart, and the limit for all of them together."""
    simulated = simulate(FITS, seed=12)
    found = {n: extremeness(r) for n, r in ranks(transforms(engine.look(simulated.data, np.arange(FITS), 0), simulated)).items()}
    scales = {n for n in found if ": tau" in n}
    return {n: v for n, v in found.items() if n not in scales}, {n: found[n] for n in scales}, threshold(FITS, len(found))


def test_coefficients_contrasts_and_values_are_calibrated_over_the_prior(extreme):
    """Log likelihoods too: all ranks within the simultaneous band at 99 %."""
    _uniform(extreme[0], extreme[2])


def test_scales_are_calibrated_over_the_prior(extreme):
    """As coefficients are. An engine that integrates over too few points of the scales passes all else and fails here."""
    assert len(extreme[1]) == 5
    _uniform(extreme[1], extreme[2])


def _uniform(extreme, limit):
    worst = min(extreme, key=extreme.get)
    print(f"\nSBC: {FITS} looks, {len(extreme)} quantities, most extreme {worst} {extreme[worst]:.2e}, limit {limit:.2e}")
    assert extreme[worst] > limit, {n: v for n, v in extreme.items() if v <= limit}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_probabilities_and_decisions_are_those_of_nuts(pair, quantity):
    """Regimes, and options of patients who come next to either decision: the 95th percentile of differences in P(best), net of NUTS's error."""
    found = gap(pair[1][quantity], pair[2][quantity])
    print("\n" + table({quantity: found}))
    assert found.net <= LARGEST_GAP
    assert found.beyond <= MOST_DISAGREE


def test_weights_have_light_tails(engine, looks):
    khat = engine.khat(looks.data)
    assert set(khat) == {"active8", "active24"}
    for name, k in khat.items():
        print(f"\n{name}: k-hat below 0.7 in {(k < 0.7).mean():.4f}, largest {k.max():.2f}")
        assert (k < 0.7).mean() >= LEAST_KHAT


def test_final_analyses_are_those_of_nuts(pair, looks):
    """Of the looks above, 20 are final analyses: too few for a share of decisions, enough for probabilities."""
    final = looks.look == FINAL
    found = {"regimes": gap(_some(pair[1]["regimes"], final), _some(pair[2]["regimes"], final, 1))}
    for d, q in enumerate(QUANTITIES[1:]):
        mine = final[looks.asked[d][0]]
        found[q] = gap(_some(pair[1][q], mine), _some(pair[2][q], mine, 1))
    print("\n" + table(found))
    for each in found.values():
        assert each.net <= LARGEST_GAP


def _some(summary, which, axis=0):
    return {s: np.compress(which, v, axis=axis) for s, v in summary.items()}


def test_the_analysis_of_a_real_trial_agrees_with_nuts_at_its_final_look(pair, looks):
    """The same data through the door, :func:`bayesdtr.fit` with NUTS: probabilities that an option starts best, for patients asked about."""
    trial = int(np.flatnonzero(looks.look == FINAL)[0])
    columns = {}
    for node in STUDY.timeline:
        values, labels = looks.data.columns[node.name][trial], labels_of(node)
        columns[node.name] = np.array(labels)[values.astype(int)] if labels else values
    posterior = dtr.fit(STUDY, pd.DataFrame(columns), seed=8, draws=4000, chains=4)
    who, asked, _ = looks.asked[0]
    patients = pd.DataFrame({n: v[who == trial] for n, v in asked.items()})
    shown = dtr.optimize(posterior).recommend(patients, every_option=True)
    p, error = (pair[2]["first"][s][:, who == trial] for s in ("p", "error"))
    noise = np.hypot(np.sqrt((error**2).sum(axis=0)) / len(error), 0.5 / np.sqrt(8000))
    for o, option in enumerate(["coaching", "classes"]):
        wanted = shown.loc[shown["option"] == option, "p_starts_best"].to_numpy()
        assert (np.abs(wanted - p.mean(axis=0)[:, o]) < 4 * noise[:, o]).all()
