"""Posterior predictive checks: each response as observed and as the fitted model would replicate it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference import Posterior
from ..inference.follow_up import as_seen, kaplan_meier
from ..schema import OBSERVED, PATIENT, PREDICTIVE
from ..study.survival import Survival
from ..study.timeline import Decision, Response, shown
from .style import BLUE, INK, LINE, MUTED, NORMAL, ORANGE, SKY, SMALL, dress, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

CI_PROB = 0.95
CURVES, DRAWN, GRID = 200, 25, 160
"""Replicates behind the band of densities, replicates drawn as lines, points of the grid."""
MOST_VALUES = 13
COLUMNS = ["response", "kind", "group", "x", "observed", "lower", "upper", "patients"]


def _replicates(posterior: Posterior, response: str) -> tuple[np.ndarray, np.ndarray]:
    """Observed values, shape (patient,), and replicates, shape (replicate, patient); NaN where not observed."""
    replicated = posterior.tree[PREDICTIVE].to_dataset()
    drawn = replicated[response].values
    return posterior.tree[OBSERVED].to_dataset()[response].values, drawn.reshape(-1, replicated.sizes[PATIENT])


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Gaussian kernel density with Silverman's bandwidth; zero where there is no spread to estimate one from."""
    sd = values.std(ddof=1) if values.size > 1 else 0.0
    quartiles = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349 if values.size else 0.0
    width = 0.9 * (min(sd, quartiles) if quartiles > 0 else sd) * values.size ** -0.2 if values.size else 0.0
    if not width > 0:
        return np.zeros_like(grid)
    z = (grid[:, None] - values[None, :]) / width
    return np.exp(-0.5 * z**2).sum(axis=1) / (values.size * width * np.sqrt(2 * np.pi))


def _groups(posterior: Posterior, response: Response) -> list[tuple[str, np.ndarray]]:
    """Everyone, and the patients on each option of the decision before a response."""
    observed = posterior.trajectories.observed(response.name)
    decision = [n for n in posterior.study.before(response.name) if isinstance(n, Decision)][-1]
    codes = posterior.trajectories.columns[decision.name]
    groups = [("all patients", np.flatnonzero(observed))]
    groups += [(f"{decision.name} = {o}", np.flatnonzero(observed & (codes == i))) for i, o in enumerate(decision.options)]
    return [(label, rows) for label, rows in groups if rows.size]


def _binary(posterior: Posterior, response: Response) -> list[dict[str, Any]]:
    y, replicated = _replicates(posterior, response.name)
    found = []
    for label, rows in _groups(posterior, response):
        share = replicated[:, rows].mean(axis=1)
        low, high = np.quantile(share, [(1 - CI_PROB) / 2, (1 + CI_PROB) / 2])
        found.append({"response": response.name, "kind": "proportion", "group": label, "x": np.nan, "observed": float(y[rows].mean()),
                      "lower": float(low), "upper": float(high), "patients": int(rows.size)})
    return found


def _values(posterior: Posterior, response: Response) -> list[tuple[str, float, float]] | None:
    """The values whose shares are compared, as (label, lowest, highest); None for a response that is drawn as a density.

    A finite list of values has one entry each, counts have one up to a dozen and one for the rest.
    """
    if response.support is not None:
        shown_values = [(shown(response, v), v, v) for v in response.support]
        return shown_values if len(shown_values) <= MOST_VALUES else None
    if not posterior.compiled(response.name).whole:
        return None
    y, _ = _replicates(posterior, response.name)
    top = int(min(np.nanmax(y), MOST_VALUES - 1))
    return [(str(v), v, v) for v in range(top)] + [(f"{top} or more", top, np.inf)]


def _shares(posterior: Posterior, response: Response, values: list[tuple[str, float, float]]) -> list[dict[str, Any]]:
    y, replicated = _replicates(posterior, response.name)
    rows = np.flatnonzero(posterior.trajectories.observed(response.name))
    found = []
    for label, low, high in values:
        inside = lambda v, low=low, high=high: (v >= low) & (v <= high)  # noqa: E731
        lower, upper = np.quantile(inside(replicated[:, rows]).mean(axis=1), [(1 - CI_PROB) / 2, (1 + CI_PROB) / 2])
        found.append({"response": response.name, "kind": "share", "group": label, "x": float(low), "observed": float(inside(y[rows]).mean()),
                      "lower": float(lower), "upper": float(upper), "patients": int(rows.size)})
    return found


def _continuous(posterior: Posterior, response: Response) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Grid, observed density, replicated densities ``(replicate, grid)``, patients."""
    y, replicated = _replicates(posterior, response.name)
    rows = np.flatnonzero(posterior.trajectories.observed(response.name))
    some = replicated[:: max(1, len(replicated) // CURVES)][:, rows]
    low, high = min(y[rows].min(), np.quantile(some, 0.001)), max(y[rows].max(), np.quantile(some, 0.999))
    grid = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), GRID)
    return grid, _density(y[rows], grid), np.stack([_density(r, grid) for r in some]), int(rows.size)


def _survival(posterior: Posterior, response: Response) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Grid, observed Kaplan-Meier curve, replicated curves ``(replicate, grid)``, patients."""
    data = posterior.trajectories
    _, replicated = _replicates(posterior, response.name)
    seen = np.flatnonzero(data.observed(response.name))
    times, events = as_seen(data, response.name, replicated[:: max(1, len(replicated) // CURVES)])
    observed = data.history([response.name], seen)[response.name]
    grid = np.linspace(0, observed.max(), GRID)
    curve = kaplan_meier(observed, ~data.censored(response.name)[seen], grid)
    return grid, curve, np.stack([kaplan_meier(t[seen], e[seen], grid) for t, e in zip(times, events, strict=True)]), int(seen.size)


def predictive_data(posterior: Posterior) -> "DataFrame":
    """What the plot shows.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    pandas.DataFrame
        Columns ``response``, ``kind``, ``group``, ``x``, ``observed``, ``lower``, ``upper``,
        ``patients``. A 0/1 response has a row per group with its ``proportion`` and the 95 %
        interval of replicated proportions; ordered, categorical and count responses a row per value
        with its ``share``; a time a row per point `x` with the Kaplan-Meier ``survival`` of the observed times and of
        replicated ones cut off at the patients' follow-up; any other a row per point `x` with the ``density`` of the
        observed values and the pointwise 95 % interval of replicated densities.
    """
    import pandas as pd

    rows = []
    for response in posterior.study.responses:
        if not posterior.trajectories.observed(response.name).any():
            continue
        if response.support == (0, 1):
            rows += _binary(posterior, response)
            continue
        if (values := _values(posterior, response)) is not None:
            rows += _shares(posterior, response, values)
            continue
        curves = _survival if isinstance(response.family, Survival) else _continuous
        kind = "survival" if isinstance(response.family, Survival) else "density"
        grid, observed, replicated, n = curves(posterior, response)
        low, high = np.quantile(replicated, [(1 - CI_PROB) / 2, (1 + CI_PROB) / 2], axis=0)
        rows += [{"response": response.name, "kind": kind, "group": "all patients", "x": float(x), "observed": float(o), "lower": float(lo),
                  "upper": float(hi), "patients": n} for x, o, lo, hi in zip(grid, observed, low, high, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def predictive(posterior: Posterior) -> "Figure":
    """Draw the posterior predictive check of every response.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    matplotlib.figure.Figure
    """
    responses = [r for r in posterior.study.responses if posterior.trajectories.observed(r.name).any()]
    lists = {r.name: None if r.support == (0, 1) else _values(posterior, r) for r in responses}
    bars = {r.name: len(lists[r.name] or _groups(posterior, r)) for r in responses}
    heights = [0.75 + 0.34 * bars[r.name] if r.support == (0, 1) or lists[r.name] else 2.3 for r in responses] or [1.0]
    figure = new_figure(7.6, sum(heights) + 0.35 * len(heights))
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, response in zip(panels, responses, strict=False):
        stage = posterior.study.stage(response.name)
        axes.set_title(plain(wrapped(f"Stage {stage}: {response.name}", 80)), size=NORMAL, weight="bold", color=INK, loc="left")
        if response.support == (0, 1):
            _draw_proportions(axes, _binary(posterior, response), "Proportion with the value 1")
        elif (values := lists[response.name]) is not None:
            _draw_proportions(axes, _shares(posterior, response, values), "Share of patients with each value")
        elif isinstance(response.family, Survival):
            _draw_continuous(axes, *_survival(posterior, response), what="Time (share without the event, Kaplan-Meier)")
        else:
            _draw_continuous(axes, *_continuous(posterior, response), what="Value (density by a Gaussian kernel)")
    return figure


def _draw_proportions(axes: "Axes", rows: list[dict[str, Any]], what: str) -> None:
    dress(axes)
    for i, row in enumerate(rows):
        axes.plot([row["lower"], row["upper"]], [i, i], color=SKY, linewidth=9, solid_capstyle="butt", zorder=2,
                  label="replicated, 95% of replicates" if i == 0 else None)
        outside = not row["lower"] <= row["observed"] <= row["upper"]
        axes.plot([row["observed"]], [i], marker="o", markersize=7, color=ORANGE if outside else INK, zorder=3, linestyle="none",
                  label="observed" if i == 0 else None)
    names = [r["group"] if r["kind"] == "share" else f"{r['group']} (n = {r['patients']})" for r in rows]
    axes.set_yticks(range(len(rows)), [plain(wrapped(name, 38)) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(what, size=SMALL, color=INK)
    axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=INK)


def _draw_continuous(axes: "Axes", grid: np.ndarray, observed: np.ndarray, replicated: np.ndarray, n: int, what: str) -> None:
    dress(axes)
    low, high = np.quantile(replicated, [(1 - CI_PROB) / 2, (1 + CI_PROB) / 2], axis=0)
    axes.fill_between(grid, low, high, color=SKY, linewidth=0, label="replicated, 95% at each point")
    for i, curve in enumerate(replicated[:: max(1, len(replicated) // DRAWN)]):
        axes.plot(grid, curve, color=BLUE, linewidth=0.5, alpha=0.35, label="single replicates" if i == 0 else None)
    axes.plot(grid, observed, color=INK, linewidth=2.0, label=f"observed (n = {n})")
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.set_xlabel(what, size=SMALL, color=MUTED)
    axes.spines["bottom"].set_color(LINE)
    axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=INK)
