"""The three-arm adaptive trial of reference.md 7, null and alternative, against independent code (100,000 replicates) and adaptr (10,000)."""

import designs
import numpy as np
import pytest

from bayesdtr.trial.counting import applies, run

NULL = designs.three_arm_truth(), (0.0586, 0.3779, 0.5635, 1746.0), 100_000
ALTERNATIVE = designs.three_arm_truth(0.25, 0.20, 0.30), (0.7087, 0.1652, 0.1262, 1234.5), 10_000
ADAPTR = (0.7111, 0.1609, 0.1280, 1225.7)
BAND, SIZE_BAND = 0.006, 10.0


def characteristics(scenario, replicates, seed=77):
    design = designs.three_arm()
    assert applies(design, scenario)
    out = run(design, scenario, np.arange(replicates), seed=seed)
    by, size = out["stopped_by"], out["size"]
    # Superiority is the first of the stopping rules, equivalence the second.
    found = np.array([(by == 0).mean(), (by == 1).mean(), (by == -1).mean(), size.mean()])
    assert found[:3].sum() == pytest.approx(1, abs=1e-12)
    return found, np.append(np.sqrt(found[:3] * (1 - found[:3]) / replicates), size.std() / np.sqrt(replicates)), out


@pytest.mark.parametrize(("scenario", "wanted", "behind"), [NULL, ALTERNATIVE])
def test_quickly(scenario, wanted, behind):
    found, error, out = characteristics(scenario, 4_000)
    reference = error * np.sqrt(4_000 / behind)
    assert (np.abs(found - wanted) <= 4 * np.hypot(error, reference) + [BAND / 3, BAND / 3, BAND / 3, SIZE_BAND / 3]).all(), found
    assert (out["size"] % 100 == 0).all() and (out["known"][out["size"] < 2000] == out["size"][out["size"] < 2000] - 100).all()
    assert (out["allocated"].sum(axis=1) == out["size"]).all() and (out["allocated"].min(axis=1) >= 132).all()  # 66 whole blocks of six


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "wanted", "behind"), [NULL, ALTERNATIVE])
def test_within_the_band(scenario, wanted, behind):
    del behind
    found, _, out = characteristics(scenario, 100_000)
    print(scenario.name, found)
    assert np.abs(found[:3] - wanted[:3]).max() <= BAND, found
    assert abs(found[3] - wanted[3]) <= SIZE_BAND, found
    if scenario is ALTERNATIVE[0]:
        assert np.abs(found[:3] - ADAPTR[:3]).max() <= BAND and abs(found[3] - ADAPTR[3]) <= SIZE_BAND, found
        assert 0.952 <= (out["selected"] == 1).mean() <= 0.967
