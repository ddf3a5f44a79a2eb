"""From a request to runs: what can be refused is refused first, then batches are simulated and kept as they come."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...runtime import Progress, progress
from ..batch import run_batch, together
from ..design import TrialDesign
from ..records import KEEP, Records, kept
from .describing import describe, digest
from .folder import Folder, declared_in, scenarios_in, session
from .run import Run
from .store import Span, Store
from .workers import Cluster, Here, Job, Runner, crew

LARGEST_SEED = 2**32 - 1
LARGEST_NUMBER = 2**32 - 1
PROBED = 8
"""Replicates simulated again where a folder goes on under other versions."""


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be simulated, checked when it is made; see :func:`bayesdtr.simulate`."""

    design: TrialDesign
    scenarios: dict[str, Any]
    replicates: int
    seed: int
    keep: str | None
    out: Path | None
    compare: bool
    scheduler: Any
    progress: str | bool

    @classmethod
    def of(cls, design: Any, scenarios: Any, replicates: Any, *, seed: Any, keep: Any = None, out: Any = None, compare: bool = True,
           scheduler: Any = None, progress: str | bool = "auto") -> "Request":
        """Check arguments as a user gives them.

        Raises
        ------
        TrialError
        """
        if not isinstance(design, TrialDesign):
            raise TrialError(f"simulate takes a TrialDesign first, got {design!r}.")
        whole("replicates", replicates, 1, LARGEST_NUMBER)
        whole("seed", seed, 0, LARGEST_SEED)
        if keep is not None and keep not in KEEP:
            raise TrialError(f"keep={keep!r}: levels of detail are {listing(KEEP)}{did_you_mean(keep, KEEP)}")
        named = by_name(scenarios)
        for scenario in named.values():
            if not callable(getattr(scenario, "check", None)):
                raise TrialError(f"simulate(scenarios=...) takes a Scenario or a list of them, got {scenario!r}.")
            scenario.check(design.study)
        return cls(design, named, int(replicates), int(seed), keep, None if out is None else Path(out), bool(compare), scheduler, progress)


def by_name(scenarios: Any, what: str = "simulate(scenarios=...)") -> dict[str, Any]:
    """Scenarios by their names.

    Parameters
    ----------
    scenarios : Scenario, sequence of Scenario, or mapping with scenarios as values
    what : str
        Who asks, in messages.

    Raises
    ------
    TrialError
        When there is none, or two have the same name.
    """
    several = isinstance(scenarios, (Sequence, Mapping)) and not isinstance(scenarios, str)
    given = list(scenarios.values() if isinstance(scenarios, Mapping) else scenarios) if several else [scenarios]
    for one in given:
        if not isinstance(getattr(one, "name", None), str):
            raise TrialError(f"{what} takes a Scenario or a list of them, got {one!r}.")
    names = [one.name for one in given]
    if not names:
        raise TrialError(f"{what} needs at least one scenario, got an empty {type(scenarios).__name__}.")
    if twice := [n for n in names if names.count(n) > 1]:
        raise TrialError(f"{what}: two scenarios are called {twice[0]!r}; give them different names, which tell them apart in tables.")
    return dict(zip(names, given, strict=True))


def whole(what: str, value: Any, least: int, most: int) -> None:
    """Raise `TrialError` for what is no whole number between two others."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise TrialError(f"{what} takes a whole number from {least} to {most}, got {value!r}.")


def carry_out(request: Request, runner: Runner) -> tuple[dict[str, Run], dict[str, Run]]:
    """Simulate what is not there yet.

    Parameters
    ----------
    request : Request
    runner : callable
        `run_batch`.

    Returns
    -------
    runs, equal_runs : dict of str to Run
        By scenario; of the design and of its equal twin, which is left out where the design is equal itself or no comparison is asked for.
    """
    design, held = request.design, None
    path, keep = request.out, request.keep
    if path is None:
        held = tempfile.TemporaryDirectory(prefix="bayesdtr-", ignore_cleanup_errors=True)
        path, keep = Path(held.name), keep or "summary"
    folder = Folder(path, design, request.seed, keep)
    for scenario in request.scenarios.values():
        folder.check(scenario)
    twins = [False, True] if request.compare and design.adaptive else [False]
    runs: tuple[dict[str, Run], dict[str, Run]] = {}, {}
    with ExitStack() as stack:
        workers = stack.enter_context(crew(request.scheduler))
        stack.enter_context(folder.locked())
        todo = []
        for name, scenario in request.scenarios.items():
            for equal in twins:
                job = _job(design.equal if equal else design, scenario, folder, runner)
                store = folder.store(scenario, equal, write=True, chunk=together(job.design, scenario, folder.keep) if runner is run_batch else None)
                todo.append((store, job))
                runs[equal][name] = Run(job.design, scenario, folder.seed or 0, folder.keep, request.replicates, store, held)
        total = sum(stop - start for store, _ in todo for start, stop in store.missing(request.replicates))
        for store, job in todo:
            _same_numbers(store, job, path)
        bar = stack.enter_context(progress(total, "simulating", request.progress, "replicate"))
        for store, job in todo:
            fill(store, job, request.replicates, workers, bar)
    return runs


def _job(design: TrialDesign, scenario: Any, folder: Folder, runner: Runner) -> Job:
    name = digest([describe(design), describe(scenario), folder.seed, folder.keep, repr(runner)])
    return Job(name, design, scenario, folder.seed or 0, folder.keep, runner)


def fill(store: Store, job: Job, replicates: int, workers: Here | Cluster, bar: Progress) -> None:
    """Simulate and keep the replicates that a store lacks; one batch is written while the next is simulated."""
    spans = list(store.missing(replicates, workers.parts))
    store.grow(replicates)
    with ThreadPoolExecutor(max_workers=1) as writer:
        keeper = _Keeper(store, writer, spans)
        try:
            for span, records in workers.batches(job, iter(spans)):
                keeper.take(span, records)
                bar.advance(span[1] - span[0])
        finally:
            keeper.close()


class _Keeper:
    """Writes batches behind the back of whoever simulates, a chunk's parts together: a chunk that is written twice costs more than twice."""

    def __init__(self, store: Store, writer: ThreadPoolExecutor, spans: list[Span]):
        self.store, self.writer = store, writer
        self.writing: Future[None] | None = None
        self.awaited = Counter(self._chunk(span) for span in spans)
        self.held: dict[int, list[tuple[Span, Records]]] = {}

    def _chunk(self, span: Span) -> int:
        return span[0] // self.store.chunk

    def take(self, span: Span, records: Records) -> None:
        """A batch that came."""
        chunk = self._chunk(span)
        self.held.setdefault(chunk, []).append((span, records))
        if len(self.held[chunk]) == self.awaited[chunk]:
            self._write(self.held.pop(chunk))

    def _write(self, parts: list[tuple[Span, Records]]) -> None:
        """Write parts of one chunk; those that follow on one another as one batch."""
        together: list[list[tuple[Span, Records]]] = []
        for part in sorted(parts, key=lambda p: p[0]):
            if together and together[-1][-1][0][1] == part[0][0]:
                together[-1].append(part)
            else:
                together.append([part])
        for some in together:
            if self.writing is not None:
                self.writing.result()
            elif not self.store.sessions or self.store.sessions[-1] != session():
                self.store.start(session())
            span = some[0][0][0], some[-1][0][1]
            whole = some[0][1] if len(some) == 1 else {n: np.concatenate([r[n] for _, r in some]) for n in some[0][1]}
            self.writing = self.writer.submit(self.store.write, span, whole)

    def close(self) -> None:
        """Write what is there, also where its neighbors will not come any more, and wait until it counts."""
        for chunk in sorted(self.held):
            self._write(self.held.pop(chunk))
        if self.writing is not None:
            self.writing.result()


def _same_numbers(store: Store, job: Job, path: Path) -> None:
    """Where replicates were simulated under other versions, see that these give the same numbers before more are added."""
    if not store.done or any(s["fingerprint"] == session()["fingerprint"] for s in store.sessions):
        return
    start, stop = min(store.done)
    stop = min(stop, start + PROBED)
    again = job.batch((start, stop))
    for name in kept(store.keep):
        if store.read(name, start, stop).tobytes() != again[name].tobytes():
            there, here = store.sessions[-1]["versions"], session()["versions"]
            changed = [f"{n} {there.get(n)} there, {v} here" for n, v in here.items() if there.get(n) != v] or ["the same versions, other sources"]
            raise TrialError(f"The replicates in {path} come out differently now ({name!r} differs; {'; '.join(changed)}): they cannot be mixed. "
                             "Go on with the versions that they were made with, or give out= another folder.")


def run(design: TrialDesign, scenario: Any, replicates: int, *, seed: int, keep: str | None = None, out: Any = None, scheduler: Any = None,
        progress: str | bool = False) -> Run:
    """Simulate one design under one scenario, without a comparison.

    Parameters
    ----------
    design : TrialDesign
    scenario : Scenario
    replicates : int
    seed : int
    keep, out, scheduler, progress
        As of :func:`bayesdtr.simulate`.

    Returns
    -------
    Run
    """
    request = Request.of(design, scenario, replicates, seed=seed, keep=keep, out=out, compare=False, scheduler=scheduler, progress=progress)
    return carry_out(request, run_batch)[0][scenario.name]


def reopen(path: Path, design: TrialDesign | None, scenarios: Any) -> tuple[TrialDesign, dict[str, Any], tuple[dict[str, Run], dict[str, Run]]]:
    """The runs that a folder holds, without simulating any; each has the replicates that both it and its twin have."""
    if design is not None and not isinstance(design, TrialDesign):
        raise TrialError(f"load_run takes a TrialDesign second, or none, got {design!r}.")
    design = declared_in(path) if design is None else design
    folder = Folder(path, design, None, None)
    if not folder.exists:
        raise TrialError(f"There is no run in {path}.")
    named = scenarios_in(path) if scenarios is None else by_name(scenarios, "load_run(scenarios=...)")
    runs: tuple[dict[str, Run], dict[str, Run]] = {}, {}
    for name, scenario in named.items():
        folder.check(scenario)
        stores = {False: folder.store(scenario, False, write=False)}
        with suppress(TrialError):
            stores[True] = folder.store(scenario, True, write=False)
        replicates = min(s.replicates for s in stores.values())
        if not replicates:
            raise TrialError(f"No replicate under {name!r} is finished in {path}.")
        for equal, store in stores.items():
            runs[equal][name] = Run(design.equal if equal else design, scenario, folder.seed or 0, folder.keep, replicates, store)
    return design, named, runs
