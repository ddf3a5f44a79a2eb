"""The smallest hierarchical model, one contrast of two options, and its posterior by quadrature."""

import numpy as np
import pandas as pd

import bayesdtr as dtr
from bayesdtr.data import fix_scales, read
from bayesdtr.inference.nuts import Block


def study(family: str = "bernoulli") -> dtr.Study:
    """Intercept, one contrast, its scale; a residual SD where the response is Normal."""
    response = dtr.Response("y", dtr.Bernoulli() if family == "bernoulli" else dtr.Normal())
    return dtr.Study(dtr.Decision("a", ["old", "new"]), response, utility="y", scales={} if family == "bernoulli" else {"y": (0.0, 1.0)})


def frame(yes: tuple[int, int] = (11, 16), n: tuple[int, int] = (24, 22)) -> pd.DataFrame:
    """Counts of successes under old and new, a row per patient."""
    rows = [(option, int(i < k)) for option, k, m in zip(("old", "new"), yes, n, strict=True) for i in range(m)]
    return pd.DataFrame(rows, columns=["a", "y"])


def block(family: str = "bernoulli", data: pd.DataFrame | None = None) -> Block:
    """The compiled model with its data."""
    return block_of(study(family), frame() if data is None else data)


def block_of(declared: dtr.Study, data: pd.DataFrame) -> Block:
    """The compiled model of a study with one response, with its data."""
    from bayesdtr.inference.fit import blocks_of

    trajectories = read(declared, data)
    return blocks_of(declared, trajectories, fix_scales(declared, trajectories))[0]


def quadrature(made: Block, size: int = 101) -> dict[str, tuple[float, float]]:
    """Posterior means and SDs of the model's parameters, and P(treatment > 0), on a grid over all three unconstrained parameters.

    Written from the declared priors, without the compiled model: Normal(0, 1.5), HalfNormal(0.5), Normal(0, tau).
    """
    sign = np.where(np.asarray(made.inputs["a"]) == 0, -1.0, 1.0) / np.sqrt(2.0)
    intercept, tau, raw = np.meshgrid(
        np.linspace(-6.0, 6.0, size), np.linspace(0.004, 2.6, size), np.linspace(-5.0, 5.0, size), indexing="ij")
    treatment = tau * raw
    log_density = -0.5 * (intercept / 1.5) ** 2 - 0.5 * (tau / 0.5) ** 2 - 0.5 * raw**2
    for s in (1 / np.sqrt(2.0), -1 / np.sqrt(2.0)):
        arm = np.isclose(sign, s)
        eta = intercept + s * treatment
        yes, no = made.y[arm].sum(), (1 - made.y[arm]).sum()
        log_density -= yes * np.logaddexp(0, -eta) + no * np.logaddexp(0, eta)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    found = {}
    for name, value in (("intercept", intercept), ("tau", tau), ("treatment", treatment), ("positive", (treatment > 0) + 0.5 * (treatment == 0))):
        mean = float((weight * value).sum())
        found[name] = mean, float(np.sqrt((weight * (value - mean) ** 2).sum()))
    return found
