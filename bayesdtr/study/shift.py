"""`Shift`: how outcomes that were not measured may differ from those that were, as a declaration."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import StudyError, did_you_mean, listing
from .priors import ON_THE_LINE, Prior
from .study import Study
from .timeline import Decision, Options, Response


@dataclass(frozen=True, init=False, repr=False)
class Shift:
    """A pattern-mixture assumption: the linear predictor of patients whose outcome is missing is shifted, by treatment.

    The data say nothing about the shift; it is a sensitivity parameter with a prior, not learned.

    Parameters
    ----------
    response : str
        The response that is missing for some.
    by : str
        The decision whose options have a share of missing outcomes, and a shift, of their own.
    prior : Prior, number, or mapping of str to Prior or number
        Prior of the shift, independent over options, or one per option; a number fixes it. On the scale
        of the linear predictor: the response's own for a Normal one, log-odds for a 0/1 one, the log mean for counts.

    Examples
    --------
    >>> Shift("y", by="second", prior=Prior("Normal", loc=0, scale=0.5))
    """

    response: str
    by: str
    prior: Prior | float | tuple[tuple[str, Prior | float], ...]

    def __init__(self, response: str, *, by: str, prior: Prior | float | Mapping[str, Prior | float]):
        made = tuple((str(o), _checked(p)) for o, p in prior.items()) if isinstance(prior, Mapping) else _checked(prior)
        for field, value in (("response", response), ("by", by), ("prior", made)):
            object.__setattr__(self, field, value)

    def of(self, options: Options) -> dict[str, Prior | float]:
        """The prior of every option's shift.

        Raises
        ------
        StudyError
            When priors are given by option and one is unknown or lacking.
        """
        if not isinstance(self.prior, tuple):
            return dict.fromkeys(options, self.prior)
        for name, _ in self.prior:
            if name not in options:
                raise StudyError(f"Shift: {self.by!r} has no option {name!r}; it has {listing(options)}{did_you_mean(name, options)}")
        given = dict(self.prior)
        if lacking := [o for o in options if o not in given]:
            raise StudyError(f"Shift: prior lacks {listing(lacking)}; give a Prior, or 0 for no shift, for every option of {self.by!r}.")
        return {o: given[o] for o in options}

    def check(self, study: Study) -> None:
        """Raise for a response or decision that the study does not have, or in the wrong order."""
        for name, kind, known in ((self.response, Response, study.responses), (self.by, Decision, study.decisions)):
            if not isinstance(name, str) or name not in [n.name for n in known]:
                names = [n.name for n in known]
                hint = did_you_mean(name, names) if isinstance(name, str) else ""
                raise StudyError(f"Shift: the study has no {kind.__name__.lower()} {name!r}; it has {listing(names)}{hint}")
        if self.by not in [n.name for n in study.before(self.response)]:
            raise StudyError(f"Shift: decision {self.by!r} comes after response {self.response!r}; name one that comes before it.")
        node = study[self.by]
        assert isinstance(node, Decision)
        self.of(node.options)

    def __repr__(self) -> str:
        """As it is declared."""
        law = "{" + ", ".join(f"{o!r}: {_declared(p)}" for o, p in self.prior) + "}" if isinstance(self.prior, tuple) else _declared(self.prior)
        return f"Shift({self.response!r}, by={self.by!r}, prior={law})"

    def __str__(self) -> str:
        what = "; ".join(f"{o}: {p if isinstance(p, Prior) else f'{p:g}'}" for o, p in self.prior) if isinstance(self.prior, tuple) else (
            str(self.prior) if isinstance(self.prior, Prior) else f"{self.prior:g}")
        return f"linear predictor of {self.response!r} where it is missing, by {self.by!r}: + {what}"


def _declared(prior: Prior | float) -> str:
    if not isinstance(prior, Prior):
        return repr(prior)
    return f"Prior({prior.distribution!r}, {', '.join(f'{n}={v!r}' for n, v in prior.parameters)})"


def _checked(prior: object) -> Prior | float:
    if isinstance(prior, Prior):
        if prior.distribution not in ON_THE_LINE:
            raise StudyError(f"Shift: the prior must be one of {listing(ON_THE_LINE)}, or a number, got {prior}.")
        return prior
    if isinstance(prior, bool) or not isinstance(prior, numbers.Real) or not math.isfinite(prior):
        raise StudyError(f"Shift: the prior is a Prior such as Prior('Normal', loc=0, scale=0.5), or a number, got {prior!r}.")
    return float(prior)
