"""What the prior expects each response to be, beside what was observed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference import Posterior
from .style import BLUE, INK, MUTED, NORMAL, SKY, SMALL, dress, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)


def prior_predictive_data(posterior: Posterior, outcomes: Mapping[str, np.ndarray]) -> "DataFrame":
    """What the plot shows, one row per response.

    Parameters
    ----------
    posterior : Posterior
    outcomes : mapping of str to array, shape (draw, patient)
        Outcomes simulated from the prior given each patient's own history.

    Returns
    -------
    pandas.DataFrame
        Columns ``response``, ``kind`` ("proportion" of patients with the value 1, "share" of each
        labelled value, or "outcome" of single patients), quantiles ``q0.025`` to ``q0.975`` under the prior, and the observed
        ``lowest``, ``mean``, ``highest``.
    """
    import pandas as pd

    rows = []
    for response in posterior.study.responses:
        seen = posterior.trajectories.observed(response.name)
        if response.name not in outcomes or not seen.any():
            continue
        y, drawn = posterior.trajectories.columns[response.name][seen], outcomes[response.name][:, seen]
        labels = response.family.levels if response.family else None
        for code, label in enumerate(labels or ()):
            share = (drawn == code).mean(axis=1)
            rows.append(_row(f"{response.name} = {label}", "share", share, np.full(1, (y == code).mean())))
        if labels:
            continue
        binary = response.support == (0, 1)
        rows.append(_row(response.name, "proportion", drawn.mean(axis=1), np.full(1, y.mean())) if binary else
                    _row(response.name, "outcome", drawn.ravel(), y))
    return pd.DataFrame(rows, columns=["response", "kind", *(f"q{level:g}" for level in LEVELS), "lowest", "mean", "highest"])


def _row(label: str, kind: str, drawn: np.ndarray, observed: np.ndarray) -> dict[str, Any]:
    quantiles = np.quantile(drawn[np.isfinite(drawn)], LEVELS)
    return {"response": label, "kind": kind, **{f"q{level:g}": float(q) for level, q in zip(LEVELS, quantiles, strict=True)},
            "lowest": float(observed.min()), "mean": float(observed.mean()), "highest": float(observed.max())}


def prior_predictive(posterior: Posterior, outcomes: Mapping[str, np.ndarray]) -> "Figure":
    """Draw what the prior expects of each response.

    Parameters
    ----------
    posterior : Posterior
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
        axes.plot([row["lowest"], row["highest"]], [0, 0], color=INK, linewidth=2.2, solid_capstyle="round",
                  label="observed: lowest to highest, mean" if row["kind"] == "outcome" else "observed")
        axes.plot([row["mean"]], [0], marker="o", markersize=6, color=INK, linestyle="none")
        axes.set_ylim(-0.7, 1.7)
        axes.set_yticks([0, 1], ["observed", "prior"])
        what = {"proportion": "Proportion with the value 1", "share": "Share of patients", "outcome": "Outcome of one patient"}[row["kind"]]
        axes.set_xlabel(what, size=SMALL, color=MUTED)
        axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=INK)
    return figure
