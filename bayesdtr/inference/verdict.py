"""The verdict of `check`: ok, warn or fail, with the reasons and the numbers behind them."""

import json
from dataclasses import asdict, dataclass

from ..data import CellCount
from ..text import fold, number


@dataclass(frozen=True)
class Convergence:
    """The worst of the sampler's diagnostics over all parameters.

    `rhat` and the effective sample sizes are NaN where there is no parameter; independent draws of
    the exact engine have no divergences. `khat` is the worst shape of importance weights over responses
    under ``engine="laplace"`` and None under other engines.
    """

    rhat: float
    rhat_variable: str
    ess_bulk: float
    ess_tail: float
    ess_variable: str
    divergences: int
    draws: int
    khat: float | None = None
    khat_response: str = ""


@dataclass(frozen=True)
class PredictiveCheck:
    """One statistic of the data beside its posterior predictive distribution.

    `p` is the two-sided posterior predictive tail probability; `misfit` says whether it is small
    enough for a warning, at a false alarm rate over all statistics together.
    """

    response: str
    statistic: str
    observed: float
    lower: float
    upper: float
    p: float
    misfit: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was found: status, reasons, and the tables they rest on.

    Attributes
    ----------
    status : {"ok", "warn", "fail"}
    reasons : tuple of str
    convergence : Convergence
    positivity : tuple of CellCount
        Patients per option in every cell of the discrete history that offers a choice.
    predictive : tuple of PredictiveCheck
    """

    status: str
    reasons: tuple[str, ...]
    convergence: Convergence
    positivity: tuple[CellCount, ...]
    predictive: tuple[PredictiveCheck, ...]

    def __str__(self) -> str:
        c = self.convergence
        lines = [
            f"Verdict: {self.status}",
            f"  R-hat {number(c.rhat, '.3f')} at most ({c.rhat_variable}); ESS {number(c.ess_bulk, '.0f')} bulk, {number(c.ess_tail, '.0f')} tail "
            f"at least ({c.ess_variable}); {c.divergences} divergences in {c.draws} draws",
        ]
        if c.khat is not None:
            lines.append(f"  Laplace approximation, k-hat {c.khat:.2f} at most ({c.khat_response}); the final analysis is engine='nuts' or 'exact'")
        return fold("\n".join(lines + [f"  - {reason}" for reason in self.reasons]))

    def to_json(self) -> str:
        """Write as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Verdict":
        """Inverse of :meth:`to_json`."""
        made = json.loads(text)
        cells = tuple(
            CellCount(**{**c, "cell": tuple(tuple(x) for x in c["cell"]), "options": tuple(c["options"]), "counts": tuple(c["counts"])})
            for c in made["positivity"]
        )
        checks = tuple(PredictiveCheck(**p) for p in made["predictive"])
        return cls(made["status"], tuple(made["reasons"]), Convergence(**made["convergence"]), cells, checks)
