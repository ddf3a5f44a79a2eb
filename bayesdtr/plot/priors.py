"""The prior of every address with the numbers in force, in the response's own units."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..inference import Posterior, StackedModel, StackedPosterior
from ..inference.ess import frozen, in_units, normals_of
from ..study.borrowing import RobustMAP
from ..study.families import Family
from ..study.models import Saturated, UserModel
from ..study.predictor import default_predictor, groups
from ..study.priors import Prior, PriorInForce
from ..study.structures import PURE, SHARES
from ..study.timeline import Response
from .style import BLUE, INK, MUTED, SKY, SMALL, dress, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

GRID = 201
COLUMNS = 3


@dataclass(frozen=True)
class PriorRow:
    """One prior as it was used in a fit.

    Attributes
    ----------
    response, address : str
    declared : str
        As declared, in SD units where it is.
    distribution : str
    numbers : tuple of (str, float)
        Arguments in force on the response's own scale; empty where there is no proper density.
    text : str
        The distribution with the numbers in force.
    unit : str
        What a number on its axis means.
    source, reason : str
    """

    response: str
    address: str
    declared: str
    distribution: str
    numbers: tuple[tuple[str, float], ...]
    text: str
    unit: str
    source: str
    reason: str
    mixture: tuple[tuple[float, float, float], ...] = ()
    """Weight and two parameters of each component of a borrowed prior: Normals, or Betas of a probability."""


def priors_in_force(posterior: Posterior | StackedModel) -> list[PriorRow]:
    """Every prior of a fit, by response and address; a user's model lists its priors in its own source.

    Those of a stacked posterior bear the model's name before the response's.
    """
    if isinstance(posterior, StackedPosterior):
        return [dataclasses.replace(row, response=f"{m.name}: {row.response}") for m in posterior.models for row in priors_in_force(m)]
    found = []
    for response in posterior.study.responses:
        if isinstance(response.model, UserModel) or response.family is None:
            continue
        if posterior.engine == "exact" and isinstance(response.model, Saturated) and response.family.link == "identity":
            found.append(_conjugate(response))
            continue
        found += [_row(posterior, response, row) for row in posterior.study.priors(response.name).values()]
    return found


def _conjugate(response: Response) -> PriorRow:
    assert isinstance(response.model, Saturated)
    given = response.model.conjugate
    text = str(given) if given else "p(means, sigma^2) proportional to 1/sigma^2"
    reason = "conjugate prior of the exact engine, as declared" if given else (
        "reference prior of the exact engine, in place of priors declared for the sampler; improper, so it has no density to draw")
    return PriorRow(response.name, "(mean, sigma)", text, "NormalInverseGamma" if given else "improper", (), text, response.name,
                    "user" if given else "default", reason)


def _row(posterior: Posterior | StackedModel, response: Response, row: PriorInForce) -> PriorRow:
    assert response.family is not None
    scale = posterior.scales.get(response.name)
    unit = _unit(response.family, row.address, response.name) + (", difference between options" if row.factor != 1 else "")
    common = (row.source, row.reason)
    if not isinstance(row.prior, Prior):
        beta = isinstance(row.prior, RobustMAP) and row.prior.of_probability
        found = np.array(row.prior.components).T if beta else normals_of(row.prior)  # type: ignore[union-attr]
        mixture = tuple(tuple(map(float, c)) for c in zip(*found, strict=True))
        return PriorRow(row.response, row.address, row.text, "Beta mixture" if beta else "Normal mixture", (), str(row.prior), unit, *common, mixture)
    prior = in_units(row, None if scale is None else scale.location, None if scale is None else scale.sd)
    assert isinstance(prior, Prior)
    numbers = prior.parameters
    if row.address.endswith(SHARES):
        numbers = (*numbers, ("levels", float(len(groups(default_predictor(posterior.study, response).interaction)[0]))))
    elif prior.distribution == "Dirichlet" and response.support is not None:
        numbers = (*numbers, ("levels", float(len(response.support))))
    text = f"{prior.distribution}({', '.join(f'{v:.4g}' for _, v in prior.parameters)})"
    return PriorRow(row.response, row.address, row.text, prior.distribution, numbers, text, unit, *common)


def _unit(family: Family, address: str, response: str) -> str:
    """The unit that a prior's numbers are in."""
    address = address.split(".")[0]
    if address in ("probability", "baseline"):
        return "probability"
    if address.removeprefix("zero_") in PURE:
        return "a pure number"
    if address in {a.name for a in family.addresses()} and family.link != "identity":
        return "a pure number"
    zero = address.startswith("zero_")
    unit = {"identity": f"units of {response}", "logit": "log-odds", "log": "log scale", "log time": "log of time"}["logit" if zero else family.link]
    return unit + (" per SD of a covariate" if address.endswith("beta") else "")


def _curve(row: PriorRow) -> tuple[np.ndarray, np.ndarray]:
    if row.mixture:
        return _mixture_curve(row)
    a = dict(row.numbers)
    # Of a Dirichlet the marginal law of each probability is drawn.
    law = frozen(Prior("Beta", concentration1=a["concentration"], concentration0=a["concentration"] * (a["levels"] - 1))
                 if row.distribution == "Dirichlet" else Prior(row.distribution, **a))
    low, high = law.support()
    heavy = row.distribution in ("Cauchy", "HalfCauchy", "InverseGamma", "StudentT")
    low = low if np.isfinite(low) else law.ppf(0.03 if heavy else 0.001)
    high = high if np.isfinite(high) else law.ppf(0.94 if heavy else 0.999)
    x = np.linspace(low, high, GRID)
    with np.errstate(divide="ignore"):
        y = law.pdf(x)
    return x, np.where(np.isfinite(y), y, np.nan)


def _mixture_curve(row: PriorRow) -> tuple[np.ndarray, np.ndarray]:
    from scipy import stats

    weight, first, second = np.array(row.mixture).T
    if row.distribution == "Beta mixture":
        x = (np.arange(GRID) + 0.5) / GRID
        return x, stats.beta(first[:, None], second[:, None]).pdf(x).T @ weight
    center = weight @ first
    reach = 3 * np.sqrt(weight @ (second**2 + (first - center) ** 2))
    x = np.linspace(center - reach, center + reach, GRID)
    return x, stats.norm(first[:, None], second[:, None]).pdf(x).T @ weight


def priors_data(posterior: Posterior) -> "DataFrame":
    """What the plot shows: the density of each proper prior on a grid.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    pandas.DataFrame
        Columns ``response``, ``address``, ``prior`` (with the numbers in force), ``unit``, ``x``, ``density``.
    """
    import pandas as pd

    parts = []
    for row in priors_in_force(posterior):
        if row.numbers or row.mixture:
            x, y = _curve(row)
            parts.append(pd.DataFrame({"response": row.response, "address": row.address, "prior": row.text, "unit": row.unit, "x": x, "density": y}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["response", "address", "prior", "unit", "x", "density"])


def priors(posterior: Posterior) -> "Figure":
    """Draw the prior density of every address; improper priors and user-written models are named in words.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = priors_in_force(posterior)
    lines = max(-(-len(rows) // COLUMNS), 1)
    figure = new_figure(8.0, 1.75 * lines + 0.2)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axes in panels[len(rows):]:
        axes.axis("off")
    for axes, row in zip(panels, rows, strict=False):
        axes.set_title(plain(wrapped(f"{row.response}: {row.address}", 34)), size=SMALL, weight="bold", color=INK, loc="left")
        if not (row.numbers or row.mixture):
            axes.axis("off")
            why = "improper: no density to draw" if row.distribution == "improper" else "joint density of several numbers, not drawn"
            axes.text(0, 0.95, plain(wrapped(row.text, 36)) + "\n" + why, size=SMALL, color=MUTED, va="top", transform=axes.transAxes)
            continue
        x, y = _curve(row)
        dress(axes, grid=None)
        axes.fill_between(x, 0, y, color=SKY, linewidth=0)
        axes.plot(x, y, color=BLUE, linewidth=1.4)
        axes.set_ylim(0, float(np.nanmax(y)) * 1.12)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(plain(f"{row.text}\n{wrapped(row.unit, 36)}"), size=SMALL, color=MUTED)
    if not rows:
        panels[0].text(0, 0.5, "Every prior stands in a model function.", size=SMALL, color=MUTED)
    return figure
