"""How the looks of a simulated trial are analysed, as a declaration."""

from dataclasses import dataclass

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ...study.models import Saturated

ENGINES = ("auto", "exact", "laplace", "nuts")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """How looks are analysed inside a simulation.

    Attributes
    ----------
    engine : {"auto", "exact", "laplace", "nuts"}
        "auto" is exact where all models of the study are saturated cells, and Laplace's approximation otherwise.
    draws : int
        Quasi-random draws per look, of engines that draw; a power of 2. Laplace's approximation asks half of them about options of patients.
    period_effects : bool
        Let the level of every response drift from one block of enrolment to the next (a Gaussian random walk on the linear predictor, the
        same for all options). Blocks end where probabilities of assignment change: at looks and where the burn-in ends. See Notes.
    audit : float
        Share of looks, picked at random, that are refitted with NUTS; the largest difference in P(best) is reported.

    Notes
    -----
    A step of the walk is ``Normal(0, 2.5)`` on the linear predictor (SDs of a continuous response): what a narrower prior holds back of a step
    in time is put down to treatment, whose shares change at the same moments. Period effects take out drift that is common to the options.
    They cost power where shares are uneven, for then treatment is compared within blocks only, and they cannot take out drift that differs
    between options. Blocks follow the first decision; where a later decision comes long after, its probabilities may change inside a block.
    """

    engine: str = "auto"
    draws: int = 512
    period_effects: bool = False
    audit: float = 0.0

    def __post_init__(self):
        if self.engine not in ENGINES:
            raise TrialError(f"Analysis(engine={self.engine!r}): engines are {listing(ENGINES)}{did_you_mean(self.engine, ENGINES)}")
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 32 or self.draws & (self.draws - 1):
            raise TrialError(f"Analysis(draws=...) takes a power of 2 of at least 32, got {self.draws!r}.")
        if not 0 <= self.audit <= 1:
            raise TrialError(f"Analysis(audit=...) is a share of looks between 0 and 1, got {self.audit!r}.")

    def chosen(self, study: Study) -> str:
        """The engine in force for a study."""
        if self.engine != "auto":
            return self.engine
        saturated = all(isinstance(r.model, Saturated) for r in study.responses)
        return "exact" if saturated and not self.period_effects else "laplace"

    def check(self, study: Study) -> None:
        """Raise `TrialError` where the engine cannot analyse the study."""
        if self.engine == "exact" and self.period_effects:
            raise TrialError("Analysis(engine='exact') has no period effects; use engine='laplace' or leave period_effects out.")
        if self.chosen(study) == "exact":
            from .cells import CellsAnalyst

            CellsAnalyst(study, self)  # refuses at the declaration what it could not analyse
        if self.chosen(study) != "exact" or self.audit:
            from .compiled_tree import check_study

            check_study(study)
        cells = [r.name for r in study.responses if isinstance(r.model, Saturated)]
        if cells and (self.chosen(study) == "laplace" or self.period_effects):
            what = "Period effects drift along" if self.period_effects else "Laplace's approximation needs"
            raise TrialError(f"{what} a linear predictor, and the model of {listing(cells)} is Saturated(); declare Hierarchical() for it.")
