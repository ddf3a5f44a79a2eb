"""`report`: one self-contained HTML file that an ethics board can read and a statistician can re-run."""

import datetime
import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..decision import Comparison, Regime
from ..decision.explaining.extrapolation import Extrapolation
from ..errors import FileError
from ..evaluate import HonestValue
from ..inference.files import write_whole
from . import results, sections
from .blocks import Section
from .findings import Finding
from .material import Material
from .sections import Prior
from .words import plain_page

SUFFIXES = (".html",)
TITLE = "Dynamic treatment regime: posterior report"


def report(regime: Regime, path: str | Path, *, comparison: Comparison | None = None, title: str | None = None, command: str | None = None,
           prior_starts_best: Mapping[str, Any] | None = None, prior_outcomes: Mapping[str, Any] | None = None,
           honest_value: HonestValue | None = None, extrapolation: Extrapolation | None = None, findings: Sequence[Finding] = ()) -> Path:
    """Write the posterior report of a regime.

    The first page is in plain words; then come identification, estimand, timeline, model and
    assumptions, priors, data, computation, checks of the model, results, limitations, what is not
    provided, and how to run it again. When the posterior's checks fail, everything that would
    recommend is withheld and the first page says why. The file holds no reference to anything
    outside itself; it holds counts and summaries of patients' data, no single patient's.

    Parameters
    ----------
    regime : Regime
    path : str or Path
        Ends in ``.html``.
    comparison : Comparison, optional
        Of the same posterior; computed when not given.
    title : str, optional
    command : str, optional
        The command line that made the report, printed in its last section.
    prior_starts_best : mapping, optional
        Prior probability that each option starts the best regime, by option (or by decision and option).
    prior_outcomes : mapping of str to array, shape (draw, patient), optional
        Outcomes simulated from the prior, from :func:`bayesdtr.inference.prior.prior_outcomes`.
    honest_value : HonestValue, optional
        From :func:`bayesdtr.honest_value` on the same study and data; "not provided" without it.
    extrapolation : Extrapolation, optional
        From ``regime.extrapolation()``; without it, patients behind recommendations are counted, and widths are "not provided".
    findings : sequence, optional
        What other verbs found about the same regime, shown among the results: value_of_information, by_group, fair, policy_tree,
        risk_profile, acceptability, evsi. What is seen to be of another posterior, utility or regime is refused.

    Returns
    -------
    Path

    Raises
    ------
    DecisionError
        For a comparison, honest value, extrapolation or finding that is none, or of another posterior or regime.
    FileError
        When the name does not end in ``.html``, or the folder is not there or cannot be written to.
    """
    check_suffix(path)
    material = Material.of(regime, comparison, honest_value, extrapolation, findings)
    text = render(material, title=title, command=command, prior=Prior(prior_starts_best, prior_outcomes))
    return write_whole(Path(path), lambda target: target.write_text(text, encoding="utf-8"))


def check_suffix(path: str | Path) -> None:
    """Refuse kinds of files that this release does not write."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise FileError(f"A report is written to a file that ends in {', '.join(SUFFIXES)}; got {str(path)!r}.")


def sections_of(m: Material, command: str | None, prior: Prior, today: datetime.date) -> list[Section]:
    """All numbered sections in order."""
    return [
        sections.identification(m, today), sections.estimand(m), sections.design(m), sections.priors(m, prior), sections.data(m),
        sections.computation(m), sections.checks(m), results.results(m), results.limitations(m), results.missing(m), results.rerun(m, command),
    ]


def render(m: Material, *, title: str | None = None, command: str | None = None, prior: Prior | None = None,
           today: datetime.date | None = None) -> str:
    """The document as HTML text."""
    import jinja2

    def read(name: str) -> str:
        return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(loader=jinja2.FunctionLoader(read), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    today = today or datetime.date.today()
    return environment.get_template("report.html").render(
        title=title or TITLE, date=today.isoformat(), status=m.regime.posterior.verdict.status, plain=plain_page(m),
        sections=sections_of(m, command, prior or Prior(None, None), today),
    )
