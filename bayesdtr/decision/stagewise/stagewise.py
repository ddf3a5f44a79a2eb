"""What stage-wise Q-learning leaves behind: Q-functions with a cut posterior, and the regime that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ...data import Trajectories
from ...errors import DecisionError
from ...inference import Verdict
from ...study.study import Scale, Study
from ...text import fold
from ..assess import Assessment, summarize_options
from ..explaining.neighbors import looked_at
from ..regime import Regime
from ..values import Summary
from ..world import Rows
from .pseudo import Stage, clairvoyant

MEANING = {
    "bml_committed": "later decisions by the committed rule; outcomes kept where it was followed, drawn elsewhere",
    "bml": "later decisions by each draw's own optimum; outcomes kept where it was followed, drawn elsewhere",
    "mean_committed": "later decisions by the committed rule; expected outcomes",
    "mean": "later decisions by each draw's own optimum; expected outcomes",
}
CUT = (
    "Cut posterior: an earlier stage learns from imputed later utilities and tells later stages nothing. With another utility it has to be "
    "fitted again."
)


@dataclass(frozen=True, eq=False)
class StagewisePosterior:
    """Q-functions of a study, one for each decision, with draws from their cut posterior.

    It is no joint model of the responses: verbs that need one refuse it.

    Attributes
    ----------
    study : Study
    trajectories : Trajectories
    scales : mapping of str to Scale
    seed : int
    engine : {"nuts", "exact", "laplace"}
        Of the last decision's responses.
    mode : str
        How later decisions enter; see :func:`q_learn`.
    verdict : Verdict
    stages : mapping of str to Stage
        By decision.
    notes : tuple of str
        Who is left out, and whose later utility is drawn although nothing was done otherwise.
    """

    study: Study
    trajectories: Trajectories
    scales: Mapping[str, Scale]
    seed: int
    engine: str
    mode: str
    verdict: Verdict
    stages: Mapping[str, Stage]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of imputations, each with one draw of every stage."""
        return next(iter(self.stages.values())).world.size

    @property
    def shape(self) -> tuple[int, int]:
        """One chain of as many draws as there are imputations."""
        return 1, self.size

    def completed(self, draw: int) -> Trajectories:
        """The patients as they are: histories are complete."""
        del draw
        return self.trajectories

    def _refuse(self, what: str) -> NoReturn:
        raise DecisionError(
            f"Stage-wise Q-learning has no {what}: it models utilities to come under one utility, not the responses. It recommends and has rules, "
            "sets, ties and a value; for anything else use fit and optimize."
        )

    @property
    def tree(self) -> Any:
        """Not defined.

        Raises
        ------
        DecisionError
        """
        self._refuse("joint posterior of the responses")

    def draws(self, response: str, thin: int = 1) -> Any:
        """Not defined.

        Raises
        ------
        DecisionError
        """
        self._refuse(f"draws of the model of {response!r} for this")

    def compiled(self, response: str) -> Any:
        """Not defined.

        Raises
        ------
        DecisionError
        """
        self._refuse(f"model of {response!r} for this")

    def __str__(self) -> str:
        lines = [f"Stage-wise Q-learning of {self.trajectories.n} patients: {self.size} imputations, engine {self.engine}, seed {self.seed}",
                 f"  mode {self.mode}: {MEANING[self.mode]}"]
        for name, stage in self.stages.items():
            families = ", ".join(f"{r} ~ {stage.world.study[r].family or 'a model of its own'}" for r in stage.responses)  # type: ignore[union-attr]
            lines.append(f"  {name}: {families}")
        return fold("\n".join([*lines, f"  {CUT}", *(f"  {n}" for n in self.notes), str(self.verdict)]))


class StagewiseRegime(Regime):
    """The regime of stage-wise Q-learning: at every decision the option of highest posterior-expected utility to come.

    It recommends, has rules, sets and ties as any :class:`Regime`. Probabilities, intervals and regrets are about one decision at a
    time, later ones being made as the mode has them: `p_starts_best` is `p_best`, and the regret is what the decision itself may lose.
    Made by :func:`q_learn`; `posterior` is a :class:`StagewisePosterior`.

    Notes
    -----
    The responses after the last decision ``K`` are fitted first, as :func:`fit` does. With ``u_k`` what responses after decision ``k``
    earned, ``q_k`` the fitted expectation, ``a*`` the option as the mode has it, and ``Y_K = u_K``, imputation ``g`` has, for patients who
    came to decision ``k + 1``,

        Y_k = u_k + (Y_{k+1} where a_{k+1} = a*, else a draw of Y_{k+1} given h_{k+1}, a*; theta_{k+1}^g)     "bml"
        Y_k = u_k + q_{k+1}(h_{k+1}, a*; theta_{k+1}^g)                                                         "mean"

    and ``Y_k = u_k`` where the course has ended; ``theta_k^g`` is then one draw given these ``Y_k``. A single feasible option is ``a*``;
    of tied options the one declared first is. Costs of options are known and not estimated. Where the utility is a single response after
    the last decision, without costs, and outcomes are kept ("bml"), earlier stages have that response's family; elsewhere ``Y_k``
    is a number and the family Normal, in units of the observed utility's SD, the same for all imputations.

    These are draws from a cut (modular) posterior: a stage learns from later ones and tells them nothing, and the stages' models need not
    be compatible, since the maximum of linear functions is not linear. Simulation-based calibration can hold for the last stage only.
    Under "bml" and "mean" the later optimum is clairvoyant, each draw's own: an option whose later options are poorly known is rewarded for
    it, so the committed modes are for decisions. Another utility needs another fit, and safety gates need :func:`optimize`.

    References
    ----------
    Murray, Yuan and Thall (2018), Journal of the American Statistical Association 113:1255-1267 ("bml"). Murphy (2005), Journal of Machine
    Learning Research 6:1073-1097 (Q-learning by regression).
    """

    posterior: StagewisePosterior  # type: ignore[assignment]

    @property
    def mode(self) -> str:
        """How later decisions enter."""
        return self.posterior.mode

    @property
    def verdict(self) -> Verdict:
        """Convergence, positivity, and predictive checks of the last decision's responses; `dtr.check` shows it."""
        return self.posterior.verdict

    def assess(self, decision: str, rows: Rows, *, ci_prob: float = 0.95, epsilon: float = 0.0) -> Assessment:
        """Assess every option at a decision for given histories (codes, not labels)."""
        distinct, inverse = rows.unique()
        parts = []
        for begin in range(0, distinct.n, 256):
            qbar, q = self.posterior.stages[decision].values(distinct.take(np.arange(begin, min(begin + 256, distinct.n))))
            parts.append(summarize_options(self.posterior, qbar, q, q, ci_prob, epsilon))  # type: ignore[arg-type]
        return Assessment(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in Assessment.__dataclass_fields__}).take(inverse)

    def looked_at(self, decision: str) -> tuple[str, ...]:
        """Variables before a decision that its Q-function or its conditions look at, in time order."""
        stage = self.posterior.stages[decision]
        return looked_at(stage.world.study, stage.world.compiled.__getitem__, stage.index, False)

    def value(self, *, ci_prob: float = 0.95) -> Summary:
        """Stage-wise value: the first decision's Q-function at the recommended option, averaged over the observed patients.

        Under the committed modes it estimates the value of the regime, as far as every stage's model is right; chosen and valued on
        the same data, it is optimistic on average. The patients' covariates are weighed by the Bayesian bootstrap.

        Raises
        ------
        DecisionError
            Under "bml" and "mean", whose first Q-function goes on by each draw's own optimum: that is no rule's value.
        """
        if clairvoyant(self.mode) and len(self.posterior.stages) > 1:
            raise DecisionError(
                f"value: under mode={self.mode!r} earlier stages go on by each draw's own optimum, which no rule can follow, so their "
                f"average is not the value of a rule; use mode='{self.mode}_committed'. The draws are in value_draws."
            )
        return super().value(ci_prob=ci_prob)

    def save(self, path: str | Path) -> Path:
        """Not provided.

        Raises
        ------
        DecisionError
        """
        raise DecisionError(f"A regime of stage-wise Q-learning cannot be saved ({path}); the same seed gives the same regime again.")

    def __str__(self) -> str:
        names = ", ".join(d.name for d in self.posterior.study.decisions)
        several = clairvoyant(self.mode) and len(self.posterior.stages) > 1
        known = "" if several else f"stage-wise value {self.value()}, Monte Carlo error {self.value_error:.2g}"
        value = known or f"no value of a rule under mode {self.mode}"
        lines = [f"Regime for {names}; {value}", *(f"  {line}" for line in self.rules()), str(self.posterior)]
        return fold("\n".join(lines))
