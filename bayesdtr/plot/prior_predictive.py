"""What the prior expects each response to be, beside what was observed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decision import PriorPredictive
from ..errors import InferenceError
from ..inference import Posterior
from ..study.survival import Survival
from ..study.timeline import Response
from .style import BLUE, INK, MUTED, NORMAL, SKY, SMALL, dress, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)


def prior_predictive_data(posterior: Posterior | PriorPredictive, outcomes: Mapping[str, np.ndarray] | None = None) -> "DataFrame":
    """What the plot shows, one row per response.

    Parameters
    ----------
    posterior : Posterior or PriorPredictive
    outcomes : mapping of str to array, shape (draw, patient)
        With a posterior: outcomes simulated from the prior given each patient's own history.

    Returns
    -------
    pandas.DataFrame
        Columns ``response``, ``kind`` ("proportion" of patients with the value 1, "share" of each
        labelled value, "outcome" or "time" of single patients), quantiles ``q0.025`` to ``q0.975`` under the prior, and the observed
        ``lowest``, ``mean``, ``highest`` (missing where nothing was observed).
    """
    import pandas as pd

    rows = []
    if isinstance(posterior, PriorPredictive):
        seen, drawn = posterior.observed, posterior.drawn
        rows = [row for r in posterior.study.responses for row in _rows(r, seen.get(r.name, np.empty(0)), drawn[r.name])]
        return pd.DataFrame(rows, columns=COLUMNS)
    if outcomes is None:
        raise InferenceError("prior_predictive: with a posterior hand in simulated outcomes too, or plot what bayesdtr.prior_predictive returns.")
    for response in posterior.study.responses:
        seen = posterior.trajectories.observed(response.name)
        if response.name not in outcomes or not seen.any():
            continue
        if isinstance(response.family, Survival):
            seen &= ~posterior.trajectories.censored(response.name)
        y, drawn = posterior.trajectories.columns[response.name][seen], outcomes[response.name][:, seen]
        rows += _rows(response, y, drawn)
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["response", "kind", *(f"q{level:g}" for level in LEVELS), "lowest", "mean", "highest"]


def _rows(response: Response, y: np.ndarray, drawn: np.ndarray) -> list[dict[str, Any]]:
    """One line of a numeric response, one per label of a labelled one; `drawn` ``(draw, patient)``."""
    name, labels = response.name, response.family.levels if response.family else None
    share = y.mean() if y.size else np.nan
    if labels:
        shares = [np.full(1, (y == code).mean()) if y.size else y for code in range(len(labels))]
        return [_row(f"{name} = {label}", "share", (drawn == code).mean(axis=1), shares[code]) for code, label in enumerate(labels)]
    if response.support == (0, 1):
        return [_row(name, "proportion", drawn.mean(axis=1), np.full(1, share))]
    return [_row(name, "time" if isinstance(response.family, Survival) else "outcome", drawn.ravel(), y)]


def _row(label: str, kind: str, drawn: np.ndarray, observed: np.ndarray) -> dict[str, Any]:
    quantiles = np.quantile(drawn[np.isfinite(drawn)], LEVELS)
    low, mean, high = (float(observed.min()), float(observed.mean()), float(observed.max())) if observed.size else (np.nan, np.nan, np.nan)
    return {"response": label, "kind": kind, **{f"q{level:g}": float(q) for level, q in zip(LEVELS, quantiles, strict=True)},
            "lowest": low, "mean": mean, "highest": high}


def prior_predictive(posterior: Posterior | PriorPredictive, outcomes: Mapping[str, np.ndarray] | None = None) -> "Figure":
    """Draw what the prior expects of each response.

    Parameters
    ----------
    posterior : Posterior or PriorPredictive
        What :func:`bayesdtr.prior_predictive` returned, or a posterior with
    outcomes : mapping of str to array, shape (draw, patient)

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = prior_predictive_data(posterior, outcomes)
    figure = new_figure(7.6, 1.25 * max(len(table), 1) + 0.2)
    panels = figure.subplots(max(len(table), 1), 1, squeeze=False)[:, 0]
    for axes, row in zip(panels, table.to_dict("records"), strict=False):
        dress(axes)
        axes.set_title(plain(wrapped(row["response"], 80)), size=NORMAL, weight="bold", color=INK, loc="left")
        axes.plot([row["q0.025"], row["q0.975"]], [1, 1], color=SKY, linewidth=11, solid_capstyle="butt", label="prior, 95% equal-tailed")
        axes.plot([row["q0.25"], row["q0.75"]], [1, 1], color=BLUE, linewidth=11, alpha=0.45, solid_capstyle="butt", label="prior, central 50%")
        seen = np.isfinite(row["mean"])
        if seen:
            axes.plot([row["lowest"], row["highest"]], [0, 0], color=INK, linewidth=2.2, solid_capstyle="round",
                      label="observed: lowest to highest, mean" if row["kind"] == "outcome" else "observed")
            axes.plot([row["mean"]], [0], marker="o", markersize=6, color=INK, linestyle="none")
        axes.set_ylim(-0.7 if seen else 0.3, 1.7)
        axes.set_yticks([0, 1] if seen else [1], ["observed", "prior"] if seen else ["prior"])
        what = {"proportion": "Proportion with the value 1", "share": "Share of patients", "outcome": "Outcome of one patient",
                "time": "Time of one patient (observed: events only)"}[row["kind"]]
        if row["kind"] == "time":
            axes.set_xscale("log")
        axes.set_xlabel(what, size=SMALL, color=MUTED)
        axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=INK)
    return figure
