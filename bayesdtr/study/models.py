"""What a response's model is, as a declaration: hierarchical (the default), saturated, or the user's own function."""

import hashlib
import importlib
import inspect
import math
import numbers
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import StudyError, did_you_mean, listing
from .formula import parse
from .priors import NormalInverseGamma

INTERACTIONS = ("normal", "auto", "horseshoe", "r2d2")


@dataclass(frozen=True, init=False)
class Hierarchical:
    """The default: a linear predictor with shrunken treatment contrasts and interactions, partial pooling over clusters.

    Parameters
    ----------
    covariates : str, optional
        Main effects as a formula, ``"age + C(sex) + age:C(sex) + s(bmi)"``, in place of one linear
        term for each baseline covariate. ``C(x)`` is a variable with labels, ``s(x)`` a smooth curve
        (linear trend plus Gaussian process). Responses that it does not name keep their default term.
    modifiers : str, optional
        What every decision interacts with, as a formula; by default every variable observed before
        it and every response since (baseline covariates: those that `covariates` names). Earlier
        decisions, and responses that the formula does not name, stay.
    interactions : {"normal", "auto", "horseshoe", "r2d2"}
        Prior of the interactions: Normal with one scale; the regularized horseshoe (few large, the
        rest nearly zero); R2D2 (a share of explained variance, divided up). "auto" is "normal" for up
        to 8 variables that decisions interact with, otherwise the horseshoe.
    relevant : float
        Horseshoe: how many interactions (of a decision with a variable) are expected to matter.
    patients : int
        Horseshoe: the planned number of patients, which sets how small "nearly zero" is. A number of
        the design, so that the prior stays where it is from look to look.
    sequences : bool
        Whether each sequence of options, and of the discrete responses that later decisions depend
        on, has a partially pooled effect of its own.

    Examples
    --------
    >>> Response("y", Normal(), model=Hierarchical(covariates="s(age) + C(sex)", interactions="auto"))
    """

    covariates: str | None = None
    modifiers: str | None = None
    interactions: str = "normal"
    relevant: float = 3.0
    patients: int = 300
    sequences: bool = False

    def __init__(self, *, covariates: str | None = None, modifiers: str | None = None, interactions: str = "normal", relevant: float = 3.0,
                 patients: int = 300, sequences: bool = False):
        for name, formula in (("covariates", covariates), ("modifiers", modifiers)):
            if formula is not None:
                parse(formula, f"Hierarchical: {name}")
        if interactions not in INTERACTIONS:
            raise StudyError(
                f"Hierarchical: interactions={interactions!r} is none of {listing(INTERACTIONS)}{did_you_mean(interactions, INTERACTIONS)}"
            )
        if isinstance(relevant, bool) or not isinstance(relevant, numbers.Real) or not 0 < relevant < math.inf:
            raise StudyError(f"Hierarchical: relevant must be a number above 0, got {relevant!r}.")
        if isinstance(patients, bool) or not isinstance(patients, numbers.Integral) or patients < 1:
            raise StudyError(f"Hierarchical: patients must be a whole number of at least 1, got {patients!r}.")
        if not isinstance(sequences, bool):
            raise StudyError(f"Hierarchical: sequences is True or False, got {sequences!r}.")
        for field_name, value in (("covariates", covariates), ("modifiers", modifiers), ("interactions", interactions),
                                  ("relevant", float(relevant)), ("patients", int(patients)), ("sequences", sequences)):
            object.__setattr__(self, field_name, value)


@dataclass(frozen=True)
class Saturated:
    """One free parameter per cell of a discrete history and the decision taken there.

    Parameters
    ----------
    over : sequence of str, optional
        The variables whose values form the cells; by default everything observed before the
        response, all of which must then be discrete.
    conjugate : NormalInverseGamma, optional
        The prior of a Normal response under ``engine="exact"``. By default the reference prior
        ``p(means, sigma^2) proportional to 1/sigma^2``, which leaves N minus cells degrees of freedom.
        A Bernoulli response uses its Beta prior under both engines.
    """

    over: tuple[str, ...] | None = None
    conjugate: NormalInverseGamma | None = None

    def __post_init__(self):
        if isinstance(self.over, str):
            raise StudyError(f"Saturated(over={self.over!r}) needs a list of names, for example [{self.over!r}].")
        if self.over is not None:
            object.__setattr__(self, "over", tuple(self.over))
        if self.conjugate is not None and not isinstance(self.conjugate, NormalInverseGamma):
            raise StudyError(f"Saturated(conjugate=...) takes a NormalInverseGamma or None, got {self.conjugate!r}.")


def source_hash(function: Callable[..., Any]) -> str:
    """Hash of a function's source text, to notice that it has changed since a file was saved."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = repr((code.co_code, code.co_consts)) if code else repr(function)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class UserModel:
    """A function that builds a response's PyMC model, with the address under which it can be found again.

    Two user models are equal when their address and their source are.
    """

    address: str
    digest: str
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "UserModel":
        """Wrap a function; nothing is called."""
        address = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', repr(function))}"
        return cls(address, source_hash(function), function)

    @property
    def why_not_saved(self) -> str | None:
        """Why this model cannot be written to a file, or None when it can."""
        module, name = self.address.split(":", 1)
        if "<lambda>" in name:
            return "it is a lambda; give it a name with `def` at the top of a module"
        if "<locals>" in name:
            return f"{name!r} is defined inside another function; move it to the top of a module"
        if module in ("__main__", "?"):
            return "it is defined in a script or notebook; move it to a module that can be imported"
        return None

    def found(self, supplied: Callable[..., Any] | None = None) -> "UserModel":
        """Return this model with its function: the supplied one, or the one at its address.

        Raises
        ------
        StudyError
            When nothing is found there, or when its source has changed since it was saved.
        """
        function = supplied
        if function is None:
            module, name = self.address.split(":", 1)
            try:
                function = importlib.import_module(module)
                for part in name.split("."):
                    function = getattr(function, part)
            except (ImportError, AttributeError) as error:
                raise StudyError(
                    f"The response's model {self.address!r} cannot be found ({error}); "
                    "import its module first or pass models={response: function}."
                ) from error
        found = UserModel(self.address, source_hash(function), function)
        if found.digest != self.digest:
            raise StudyError(
                f"The source of the response's model {self.address!r} has changed since it was saved "
                f"(hash {self.digest}, now {found.digest}); restore it or fit again."
            )
        return found


ResponseModel = Hierarchical | Saturated | UserModel
