"""The plots of a report as files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import plot
from ..decision import Comparison, Regime
from ..errors import FileError
from ..inference.files import write_whole
from .material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160


def draws_of(m: Material) -> dict[str, Callable[[], "Figure"]]:
    """The plots that may be shown, by name; those that recommend are left out when the checks fail."""
    posterior = m.regime.posterior
    plots: dict[str, Callable[[], Figure]] = {
        "timeline": lambda: plot.timeline(m.study), "priors": lambda: plot.priors(posterior), "predictive": lambda: plot.predictive(posterior),
    }
    if not m.withheld:
        plots["embedded"] = lambda: plot.embedded(m.comparison)
        if m.cells:
            plots["regime_tree"] = lambda: plot.regime_tree(m.regime, cells=m.cells)
            plots["options"] = lambda: plot.options(m.regime, cells=m.cells)
    return plots


def write_figures(regime: Regime, comparison: Comparison | None, folder: str | Path) -> list[Path]:
    """Write the plots as PNG files, each whole or not at all.

    Parameters
    ----------
    regime : Regime
    comparison : Comparison or None
        Of the same posterior; computed when None.
    folder : str or Path
        Made when it is not there; the folder above it must be.

    Returns
    -------
    list of Path
        Without the recommended regime, its options and the embedded regimes when the checks fail.
    """
    return files_of(Material.of(regime, comparison), folder)


def files_of(m: Material, folder: str | Path) -> list[Path]:
    """Write the plots of gathered material."""
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot write figures to {folder}: {error.strerror}.") from error
    written = []
    for name, draw in draws_of(m).items():
        figure = draw()
        written.append(write_whole(Path(folder) / f"{name}.png", lambda target, f=figure: f.savefig(target, format="png", dpi=DPI)))
    return written
