"""`priors`: every prior with its numbers, its source, and how many patients it is worth."""

import functools
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InferenceError
from ..schema import POSTERIOR, variable
from ..study.borrowing import Commensurate, RobustMAP
from ..study.families import Bernoulli
from ..study.models import Saturated, UserModel
from ..study.predictor import default_predictor
from ..study.priors import Prior, PriorInForce
from ..study.study import Study
from ..study.timeline import Response
from ..text import WIDTH
from .ess import ess_of_log_odds, ess_of_probability, in_units, information, log_shares, second_moment, spread
from .posterior import Posterior
from .stacked import StackedPosterior
from .unit import CONVENTION, OBSERVED, Key, conventional, observed

if TYPE_CHECKING:
    from pandas import DataFrame

ELIR, RATIO, COUNT = "information", "variance", "patients"


@dataclass(frozen=True)
class PriorLine:
    """One prior.

    Attributes
    ----------
    response, address : str
    prior : str
        As declared, with its unit.
    numbers : str or None
        With the numbers in force on the response's own scale; None where an SD is not known yet.
    source : {"default", "user", "borrowed"}
    reason : str
    ess : float or None
        Patients that the prior is worth; None where that has no meaning (a scale) or is not known.
    method : str or None
        ``information``: expected local information ratio. ``variance``: variance of one patient's
        estimate over that of a coefficient whose scale has this prior. ``patients``: counted.
    learned : float or None
        Posterior SD over prior SD: near 1 where the data said little.
    conflict : str or None
        For a borrowed prior after a fit.
    """

    response: str
    address: str
    prior: str
    numbers: str | None
    source: str
    reason: str
    ess: float | None
    method: str | None
    learned: float | None
    conflict: str | None


@dataclass(frozen=True)
class PriorTable:
    """Every prior of a study, or of a fit; prints as a table.

    Attributes
    ----------
    lines : tuple of PriorLine
    notes : tuple of str
    fitted : bool
    """

    lines: tuple[PriorLine, ...]
    notes: tuple[str, ...]
    fitted: bool

    @property
    def frame(self) -> "DataFrame":
        """The lines as a pandas frame, one row per prior.

        Columns are the attributes of :class:`PriorLine`; what is not known is missing.
        """
        import pandas as pd

        return pd.DataFrame([vars(line) for line in self.lines], columns=list(PriorLine.__dataclass_fields__))

    def __getitem__(self, name: str) -> PriorLine:
        for line in self.lines:
            if f"{line.response}.{line.address}" == name:
                return line
        from ..errors import did_you_mean, listing

        known = [f"{line.response}.{line.address}" for line in self.lines]
        raise InferenceError(f"priors: no address {name!r}; there are {listing(known, 20)}{did_you_mean(name, known)}")

    def __str__(self) -> str:
        wide = WIDTH - 29
        last = "post/prior SD" if self.fitted else ""
        out = [f"{'address':<28}{'prior':<{wide - 28}}{'source':<9}{'ESS':>5}{last:>15}".rstrip()]
        for line in self.lines:
            name, text = f"{line.response}.{line.address}", line.numbers if self.fitted and line.numbers else line.prior
            ess = "-" if line.ess is None else f"{line.ess:.1f}" if line.ess < 100 else f"{line.ess:.0f}"
            learned = "" if not self.fitted else "-" if line.learned is None else f"{line.learned:.2f}"
            first, *more = textwrap.wrap(text, wide - 30) or [""]
            if len(name) > 27:
                out.append(name)
                name = ""
            out.append(f"{name:<28}{first:<{wide - 28}}{line.source:<9}{ess:>5}{learned:>15}".rstrip())
            out += [f"{'':<30}{part}" for part in more]
            under = [line.reason] + ([f"conflict: {line.conflict}"] if line.conflict else [])
            out += [part for text in under for part in textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="      ")]
        for note in self.notes:
            out += textwrap.wrap(note, WIDTH, break_on_hyphens=False)
        return "\n".join(out)


NOTE = (
    "ESS: effective sample size, in patients. Of a density: its expected information over that of one patient. Of a scale (tau): variance of "
    "one patient's estimate of a contrast over the contrast's prior variance, for the contrast told most by a patient. -: has none, or not "
    "known before a fit."
)


def priors(subject: Study | Posterior) -> PriorTable:
    """Every prior in force: numbers, unit, source, reason, effective sample size; after a fit also what was learned, and conflict.

    Parameters
    ----------
    subject : Study or Posterior

    Returns
    -------
    PriorTable
        Prints within 98 columns; ``.frame`` is a pandas frame, ``["y.tau"]`` one line.

    Raises
    ------
    InferenceError
        For anything else.
    """
    if not isinstance(subject, (Study, Posterior)):
        raise InferenceError(f"priors takes a Study or a Posterior, got {type(subject).__name__}.")
    study = subject if isinstance(subject, Study) else subject.study
    posterior = subject if isinstance(subject, Posterior) else None
    lines: list[PriorLine] = []
    if isinstance(subject, StackedPosterior):
        found = [(m.name, line) for m in subject.models for line in priors(m.study.with_scales(m.scales)).lines]
        return PriorTable(tuple(replace(line, response=f"{name}: {line.response}") for name, line in found), (NOTE, CONVENTION), False)
    for response in study.responses:
        lines += _Lines(study, response, posterior).all()
    notes = [NOTE, OBSERVED if posterior else CONVENTION]
    known = dict(study.scales)
    unknown = [r.name for r in study.responses if posterior is None and r.family is not None and r.support is None and r.name not in known]
    if unknown and any(line.source != "default" for line in lines):
        notes.append(f"Priors on the own scale of {', '.join(unknown)} have an ESS once scales= says its SD, or after a fit.")
    return PriorTable(tuple(lines), tuple(notes), posterior is not None)


@dataclass(frozen=True)
class _Lines:
    """The lines of one response."""

    study: Study
    response: Response
    posterior: Posterior | None

    @functools.cached_property
    def scale(self) -> tuple[float | None, float | None]:
        """Location and SD, as far as they are known."""
        known = self.posterior.scales if self.posterior else dict(self.study.scales)
        found = known.get(self.response.name)
        return (None, None) if found is None else (found.location, found.sd)

    @functools.cached_property
    def unit(self) -> dict[Key, float]:
        """Information of one patient per coefficient."""
        if self.posterior is None:
            return conventional(self.study, self.response, self.scale[1])
        return observed(self.posterior, self.response)

    def all(self) -> list[PriorLine]:
        """Every line in printing order."""
        r = self.response
        if isinstance(r.model, UserModel):
            line = PriorLine(r.name, "(model)", f"in {r.model.address}", None, "user", "priors stand in the model function", None, None, None, None)
            return [line, *self._patients()]
        if self.posterior is not None and self.posterior.engine == "exact" and isinstance(r.model, Saturated) and r.support is None:
            return [self._conjugate(r.model), *self._patients()]
        return [self._line(row) for row in self.study.priors(r.name).values()] + self._patients()

    def _conjugate(self, model: Saturated) -> PriorLine:
        given = model.conjugate
        text = str(given) if given else "p(mean, sigma^2) ∝ 1/sigma^2"
        reason = "conjugate prior of every cell, as declared" if given else "reference prior of the exact engine"
        return PriorLine(self.response.name, "(mean, sigma)", text, text, "user" if given else "default", reason, given.strength if given else 0.0,
                         ELIR, None, None)

    def _patients(self) -> list[PriorLine]:
        borrowed = self.posterior.borrowed if self.posterior else None
        name = self.response.name
        if borrowed is None or not borrowed.a0[name]:
            return []
        size, tests = borrowed.effective(name), [c for c in borrowed.conflict if c.response == name]
        worst = min(tests, key=lambda c: c.p, default=None)
        text = f"PowerPrior(a0={borrowed.a0[name]:g}), {int(borrowed.trajectories.observed(name).sum())} patients"
        conflict = None if worst is None else f"{worst.statistic} is {worst.observed:.4g}, expected {worst.lower:.4g} to {worst.upper:.4g} " \
            f"(smallest of {len(tests)} prior predictive p-values: {worst.p:.3f})"
        return [PriorLine(name, "(patients)", text, text, "borrowed", "likelihood of an earlier trial at a discount", size, COUNT, None, conflict)]

    def _line(self, row: PriorInForce) -> PriorLine:
        prior = in_units(row, *self.scale)
        ess, method = self._ess(row, prior)
        numbers = None if prior is None else row.text if not (row.sd_units or row.around) else f"{row.prior.distribution}" \
            f"({', '.join(f'{v:.4g}' for _, v in prior.parameters)})" if isinstance(prior, Prior) else str(prior)
        learned, conflict = (None, None) if self.posterior is None else (self._learned(row, prior), self._conflict(row))
        return PriorLine(row.response, row.address, row.text, numbers, row.source, row.reason, ess, method, learned, conflict)

    # ---- effective sample size -----------------------------------------------------------------------

    def _governed(self, row: PriorInForce) -> list[Key]:
        """The coefficients that an address speaks of."""
        head, _, element = row.address.partition(".")
        if element and head in ("beta", "zero_beta", "treatment", "zero_treatment"):
            return [(head, element)]
        if head.endswith(("intercept", "mean")):
            return [(head if head != "mean" else "mean", None)]
        mine = set(self.study.priors(row.response))
        predictor = default_predictor(self.study, self.response)
        for scale, own, columns in (("tau", "treatment", predictor.treatment), ("tau_interaction", "interaction", predictor.interaction),
                                    ("tau_combination", "combination", predictor.combination)):
            prefix = head.removesuffix(scale)
            if head in (scale, f"zero_{scale}"):
                labels = [c.label for c in columns if (getattr(c.factors[0], "name", None) == element if element else
                                                       f"{head}.{getattr(c.factors[0], 'name', None)}" not in mine)]
                return [(prefix + own, label) for label in labels if f"{prefix}{own}.{label}" not in mine]
        if head.endswith("beta"):
            return [(head, c.label) for c in predictor.main if f"{head}.{c.label}" not in mine]
        return []

    def _ess(self, row: PriorInForce, prior: "Prior | RobustMAP | Commensurate | None") -> tuple[float | None, str | None]:
        head = row.address.split(".")[0]
        if head == "probability":
            beta = isinstance(row.prior, RobustMAP) or row.prior.distribution == "Beta"
            return (ess_of_probability(row.prior), ELIR) if beta and not isinstance(row.prior, Commensurate) else (None, None)
        if prior is None and (row.sd_units or row.around) and self.posterior is None and self.scale[1] is None:
            prior = row.prior  # counted in units of the SD, which both the prior and a patient's information then are
        elif self.posterior is None and self.scale[1] is None and self.response.family is not None and self.response.family.link == "identity":
            return None, None
        if prior is None or isinstance(self.response.model, UserModel):
            return None, None
        if isinstance(self.response.model, Saturated) and head == "mean":
            told = information(prior)
            return (None, None) if told is None or ("mean", None) not in self.unit else (told / self.unit["mean", None], ELIR)
        units = [self.unit[k] for k in self._governed(row) if k in self.unit and self.unit[k] > 0]
        if not units:
            return None, None
        if head.removeprefix("zero_") in ("tau", "tau_interaction", "tau_combination"):
            assert isinstance(prior, Prior)
            variance = second_moment(prior)
            return (1 / (variance * max(units)), RATIO) if np.isfinite(variance) else (0.0, RATIO)
        if head == "intercept" and self.posterior is None and isinstance(self.response.family, Bernoulli) and isinstance(prior, Prior):
            return ess_of_log_odds(prior), ELIR
        told = information(prior)
        return (None, None) if told is None else (told * row.factor**2 / max(units), ELIR)

    # ---- after a fit -----------------------------------------------------------------------------------

    def _drawn(self, row: PriorInForce) -> np.ndarray | None:
        """Draws of what an address speaks of, on the scale its prior is stated on; ``(draw,)`` or ``(draw, element)``."""
        assert self.posterior is not None
        group = self.posterior.tree[POSTERIOR]
        head, _, element = row.address.partition(".")
        whole = variable(self.response.name, row.address if variable(self.response.name, row.address) in group else head)
        if whole not in group:
            return None
        values = group[whole]
        if element and whole == variable(self.response.name, head):
            dim = values.dims[2] if values.ndim > 2 else None
            if dim is None or element not in values[dim].values:
                return None
            values = values.sel({dim: element})
        elif values.ndim > 2 and values.dims[2] in values.coords:
            own = {k.partition(".")[2] for k in self.study.priors(row.response) if k.startswith(f"{row.address}.")}
            values = values.isel({values.dims[2]: [i for i, label in enumerate(values[values.dims[2]].values) if str(label) not in own]})
        array = values.values
        return array.reshape(-1, *array.shape[2:]) * row.factor

    def _learned(self, row: PriorInForce, prior: "Prior | RobustMAP | Commensurate | None") -> float | None:
        if prior is None or prior.distribution == "Dirichlet" or (drawn := self._drawn(row)) is None or not drawn.size:
            return None
        sd = spread(prior)[1]
        return float(drawn.std(axis=0).mean() / sd) if np.isfinite(sd) and sd > 0 else None

    def _conflict(self, row: PriorInForce) -> str | None:
        assert self.posterior is not None
        if isinstance(row.prior, RobustMAP):
            drawn = self._drawn(row)
            if drawn is None:
                return None
            weight = float(np.exp(log_shares(row.prior, drawn)[:, -1]).mean())
            return f"weight of the vague component {row.prior.weight:.3g} before, {weight:.3g} after the data"
        if isinstance(row.prior, Commensurate):
            between = self.posterior.tree[POSTERIOR].get(variable(self.response.name, f"{row.address}.between"))
            drawn = self._drawn(row)
            if between is None or drawn is None:
                return None
            mean, _ = spread(row.prior.between)
            away = (float(drawn.mean()) - row.prior.estimate) / row.prior.se
            return (f"SD between the trials {mean:.3g} before, {float(between.mean()):.3g} after the data (means); this trial's value is "
                    f"{away:+.2g} standard errors from the earlier estimate")
        return None
