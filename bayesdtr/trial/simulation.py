"""`simulate`: a design under scenarios, by the ten thousand, beside equal allocation; `load_run` reads one again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .design import TrialDesign
from .running.driving import Request, carry_out, reopen

if TYPE_CHECKING:
    from .characteristics import OperatingCharacteristics


def simulate(design: TrialDesign, scenarios: Any, replicates: int = 10_000, *, seed: int, out: str | Path | None = None, keep: str | None = None,
             compare: bool = True, scheduler: Any = None, progress: str | bool = "auto") -> "OperatingCharacteristics":
    """Simulate a design under scenarios, and the same design with equal allocation on the same patients.

    Parameters
    ----------
    design : TrialDesign
    scenarios : Scenario or sequence of Scenario
    replicates : int
        Trials under each scenario.
    seed : int
        Replicate ``i`` depends on the seed and on ``i`` alone, to the last bit: on no batch, worker or order.
    out : path, optional
        Folder where replicates are kept as they come, in Zarr. A call that is interrupted, or whose process is killed, is taken up again by the
        same call; one with more replicates adds to those that are there. Without it they go to a temporary folder.
    keep : {"summary", "looks", "patients"}, optional
        Detail that is kept of each replicate; by default "looks" with `out` and "summary" without.
    compare : bool
        Simulate the same replicates with equal allocation too; not done of a design whose assignments look at no outcomes.
    scheduler : str or distributed.Client, optional
        Address of a Dask scheduler whose workers are to simulate; needs ``bayesdtr[cluster]``.
    progress : {"auto", True, False}
        A bar with the rate and the time left.

    Returns
    -------
    OperatingCharacteristics

    Raises
    ------
    TrialError
        Before anything runs: when an argument is out of range, a scenario does not fit the study, the scheduler does not answer, or the folder
        holds something else than this run.
    """
    from .batch import run_batch
    from .characteristics import OperatingCharacteristics
    from .nature import truth

    request = Request.of(design, scenarios, replicates, seed=seed, keep=keep, out=out, compare=compare, scheduler=scheduler, progress=progress)
    truths = {name: truth(design, scenario) for name, scenario in request.scenarios.items()}
    runs, equal_runs = carry_out(request, run_batch)
    return OperatingCharacteristics(design, request.scenarios, runs, equal_runs, truths)


def load_run(path: str | Path, design: TrialDesign | None = None, scenarios: Any = None) -> "OperatingCharacteristics":
    """What a folder of :func:`simulate` holds, without simulating: the replicates finished so far.

    Parameters
    ----------
    path : path
    design : TrialDesign, optional
        By default read back from the folder. To be given, as it was declared, where it holds functions, which a folder does not.
    scenarios : Scenario or sequence of Scenario, optional
        Likewise; by default all that the folder has.

    Returns
    -------
    OperatingCharacteristics
        Its `runs` hold the records.

    Raises
    ------
    TrialError
        When there is no run, or one of another design or scenario, or of one that cannot be read back; the message says which it is.
    """
    from .characteristics import OperatingCharacteristics
    from .nature import truth

    design, named, (runs, equal_runs) = reopen(Path(path), design, scenarios)
    return OperatingCharacteristics(design, named, runs, equal_runs, {name: truth(design, s) for name, s in named.items()})
