"""`Posterior`: the draws, with the study, the patients and the verdict they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from ..data import Trajectories
from ..model import CompiledResponse, LinkedResponse, compile_response, make_inputs
from ..schema import CHAIN, DRAW, IMPUTED, PATIENT, POSTERIOR, stored, variable
from ..study.models import Saturated
from ..study.study import Scale, Study
from ..text import fold
from .borrow import Borrowed
from .gaps import complete
from .verdict import Verdict


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior draws of every response's model.

    Attributes
    ----------
    study : Study
    trajectories : Trajectories
        The patients, as read at the data door.
    tree : xarray.DataTree
        Flat groups; ``az.summary(posterior.tree)`` and every ``az.plot_*`` work on it. Variables
        are named ``response::parameter``.
    scales : mapping of str to Scale
        Locations and SDs that priors and covariates are stated in; fixed at this fit.
    seed : int
    engine : {"nuts", "exact", "laplace"}
    verdict : Verdict
        What :func:`check` found.
    borrowed : Borrowed, optional
        Patients of an earlier trial that entered the fit.
    """

    study: Study
    trajectories: Trajectories
    tree: xr.DataTree
    scales: Mapping[str, Scale]
    seed: int
    engine: str
    verdict: Verdict
    borrowed: Borrowed | None = field(default=None, kw_only=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Chains and draws per chain."""
        sizes = self.tree[POSTERIOR].sizes
        return sizes.get(CHAIN, 1), sizes.get(DRAW, 1)

    @property
    def size(self) -> int:
        """Draws over all chains."""
        return self.shape[0] * self.shape[1]

    def compiled(self, response: str) -> CompiledResponse | LinkedResponse:
        """The compiled model of a response."""
        return compile_response(self.study, response, self.trajectories.cluster_labels)

    def draws(self, response: str, thin: int = 1) -> dict[str, np.ndarray]:
        """A response's parameters, chains end to end.

        Returns
        -------
        dict of str to array, shape (draw, ...)
        """
        group = self.tree[POSTERIOR]
        compiled = self.compiled(response)
        arrays = {p: group[stored(response, p)].values for p in compiled.parameters}
        return {p: a.reshape(self.size, *a.shape[2:])[::thin] for p, a in arrays.items()}

    @property
    def imputed(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What was missing and drawn, by variable: the patients' rows ``(entry,)`` and the values ``(chain, draw, entry)``."""
        if IMPUTED not in self.tree.children:
            return {}
        index = {patient: i for i, patient in enumerate(self.trajectories.ids.tolist())}
        found = {}
        for name, values in self.tree[IMPUTED].to_dataset().data_vars.items():
            column = str(name).removesuffix(variable("", "missing"))
            rows = np.array([index[str(p)] for p in values[variable(column, PATIENT)].values], dtype=int)
            found[column] = rows, values.values
        return found

    def completed(self, draw: int) -> Trajectories:
        """The patients with the values of one draw (chains end to end) in place of what is missing; as they are where nothing is."""
        imputed = {n: (rows, v.reshape(-1, v.shape[-1])[draw]) for n, (rows, v) in self.imputed.items()}
        return complete(self.trajectories, imputed) if imputed else self.trajectories

    def inputs(self, response: str, history: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> dict[str, np.ndarray]:
        """Inputs of a response's compiled model for given histories."""
        return make_inputs(self.compiled(response), history, cluster, self.scales)

    def save(self, path: str | Path) -> Path:
        """Write the posterior to a NetCDF file, whole or not at all.

        The file holds the patients' data: treat it as such.

        Raises
        ------
        FileError
            When the folder cannot be written to, or a user's model cannot be found again by name.
        """
        from .files import save

        return save(self, path)

    def __str__(self) -> str:
        chains, draws = self.shape
        lines = [f"Posterior of {self.trajectories.n} patients: {chains} x {draws} draws, engine {self.engine}, seed {self.seed}"]
        lines += [f"  scale of {n}: location {s.location:.6g}, SD {s.sd:.6g}" for n, s in self.scales.items()]
        for response in self.study.responses:
            if self.engine == "exact" and response.support is None and isinstance(response.model, Saturated):
                lines.append(f"  {response.name}.(mean, sigma) ~ {response.model.conjugate or 'p(mean, sigma^2) ∝ 1/sigma^2'}")
                continue
            for address, row in self.study.priors(response.name).items():
                unit = f", one unit is {self.scales[response.name].sd:.4g}" if row.sd_units else ""
                lines.append(f"  {response.name}.{address} ~ {row.text}{unit}")
        if self.borrowed is not None:
            worth = ", ".join(f"{n} {self.borrowed.effective(n):.4g}" for n, a in self.borrowed.a0.items() if a)
            lines.append(f"  borrowed: {self.borrowed.trajectories.n} earlier patients, worth (effective sample size) {worth}")
            lines += [f"    conflict: {c}" for c in self.borrowed.conflict if c.p < 0.05]
        return fold("\n".join([*lines, str(self.verdict)]))
