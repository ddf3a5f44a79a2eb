"""Honest values over simulated trials of examples with an exact truth."""

import honest
import numpy as np
import pytest

SETS = 1000


@pytest.mark.slow
@pytest.mark.parametrize("example", ["1", "3", "A"])
def test_honest_values_fall_around_what_the_rules_achieve(example):
    """No bias beyond .01, or what 4 standard errors of the simulation allow, and intervals that cover as often as .91."""
    found = honest.run(example, SETS)
    off = found.value - found.target
    covered = float((np.abs(off) < 1.96 * found.error).mean())
    print(f"{example}: bias {off.mean():.4f} (SE {off.std() / SETS**0.5:.4f}), coverage {covered:.3f}, mean SE {found.error.mean():.4f}, "
          f"SD {off.std():.4f}, mean target {found.target.mean():.4f}")
    assert abs(off.mean()) < 0.01 + 4 * off.std() / SETS**0.5
    assert covered > 0.91 - 3.3 * (0.91 * 0.09 / SETS) ** 0.5
