"""Who simulates batches: this process, or the workers of a Dask cluster. The numbers are the same."""

import ctypes
import gc
import importlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BayesDTRError, TrialError
from ...kept import fingerprint
from ..design import TrialDesign
from ..records import Records
from .store import Span

Runner = Callable[..., dict[str, np.ndarray]]
"""`run_batch`, or what stands in for it in tests."""

PARTS = 2
"""Tasks of a cluster that share a chunk: more keep all workers busy to the end, and cost more in writing here."""
PATIENCE = 10.0
"""Seconds to wait for a scheduler that does not answer."""
WAITING = 60.0
"""Seconds to wait for a first worker."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of `mallopt` in malloc.h."""


@dataclass(frozen=True, eq=False)
class Job:
    """One design under one scenario: what a batch needs beside the numbers of its replicates.

    `digest` names it, so that a worker uses one and the same object for all its batches, with whatever was compiled for it.
    """

    digest: str
    design: TrialDesign
    scenario: Any
    seed: int
    keep: str
    runner: Runner

    def batch(self, span: Span) -> dict[str, np.ndarray]:
        """Simulate a batch."""
        return self.runner(self.design, self.scenario, np.arange(*span), seed=self.seed, keep=self.keep)


class Here:
    """This process."""

    parts = 1

    def batches(self, job: Job, spans: Iterator[Span]) -> Iterator[tuple[Span, Records]]:
        """Simulate batches one after the other."""
        for span in spans:
            yield span, job.batch(span)


class Cluster:
    """The workers of a Dask cluster; tasks of workers that are lost are given to others.

    Parameters
    ----------
    client : distributed.Client
    """

    parts = PARTS

    def __init__(self, client: Any):
        self.client = client
        self.dask = importlib.import_module("distributed")
        self._greet()

    def _greet(self) -> None:
        """See that there is a worker, and that it has what is needed."""
        future = self.client.submit(_whoami, pure=False)
        try:
            _check_worker(future.result(timeout=WAITING))
        except (TimeoutError, self.dask.TimeoutError):
            raise TrialError(f"No worker of the scheduler {_address(self.client)} answered within {WAITING:.0f} seconds; start workers with "
                             f"`dask worker {_address(self.client)}`.") from None
        except BayesDTRError:
            raise
        except Exception as error:
            raise TrialError(f"The workers of {_address(self.client)} cannot simulate: {type(error).__name__}: {error}. "
                             "Install the same bayesdtr there.") from error
        finally:
            future.cancel()

    def batches(self, job: Job, spans: Iterator[Span]) -> Iterator[tuple[Span, Records]]:
        """Simulate batches wherever a worker is free, in any order; a few more tasks are in flight than there are threads."""
        parcel = importlib.import_module("cloudpickle").dumps(job)  # on its way to a worker, never kept
        asked: dict[str, tuple[Any, Span]] = {}

        def ask(span: Span) -> Any:
            future = self.client.submit(_perform, job.digest, parcel, span, pure=False)
            asked[future.key] = future, span
            return future

        width = 2 * max(sum(self.client.nthreads().values()), 2)
        pending = self.dask.as_completed([ask(s) for s in itertools.islice(spans, width)], loop=self.client.loop)
        try:
            for future in pending:
                _, span = asked.pop(future.key)
                found, records = self._result(future)
                _check_worker(found)
                yield span, records
                future.release()
                missing = 2 * max(sum(self.client.nthreads().values()), 2) - len(asked)
                for following in itertools.islice(spans, max(missing, 0)):
                    pending.add(ask(following))
        finally:
            pending.clear()
            self.client.cancel([future for future, _ in asked.values()])

    def _result(self, future: Any) -> Any:
        try:
            return future.result()
        except BayesDTRError:
            raise
        except (self.dask.CancelledError, self.dask.client.FutureCancelledError, self.dask.KilledWorker, OSError) as error:
            raise TrialError(f"The cluster {_address(self.client)} gave up on a batch ({type(error).__name__}: {error}); what is finished is kept "
                             "where out= was given, and the same call goes on from there.") from error
        except (ImportError, AttributeError) as error:
            raise TrialError(f"A worker could not load what the scenario or the design is made of ({error}); install the module on the workers, or "
                             "send it with Client.upload_file.") from error


def _address(client: Any) -> str:
    return str(getattr(client.scheduler, "address", client))


def _whoami() -> str:
    return fingerprint()


def _check_worker(found: str) -> None:
    if found != fingerprint():
        raise TrialError("A worker has another bayesdtr, or other versions of what it computes with, than this process: its numbers could differ. "
                         "Install the same versions on the workers.")


_held: dict[str, Job] = {}


def _perform(name: str, parcel: bytes, span: Span) -> tuple[str, dict[str, np.ndarray]]:
    """A task: runs on a worker."""
    _modest()
    if name not in _held:
        if len(_held) >= 8:
            _held.clear()
        _held[name] = importlib.import_module("cloudpickle").loads(parcel)
    with _roomy():
        return fingerprint(), _held[name].batch(span)


def by_value(folder: Path) -> None:
    """Let functions and classes of the Python files in a folder travel to workers by value: nobody can import them there."""
    cloudpickle = importlib.import_module("cloudpickle")
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().parent == folder.resolve() and module.__name__ != "__main__":
            cloudpickle.register_pickle_by_value(module)


def _modest() -> None:
    """A worker with one thread leaves the other cores to other workers, where XLA has not taken them yet: programs run in its own thread."""
    distributed = sys.modules["distributed"]
    flag = "--xla_cpu_multi_thread_eigen=false"
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags and distributed.get_worker().state.nthreads == 1:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()
        importlib.import_module("jax").config.update("jax_cpu_enable_async_dispatch", False)


@contextmanager
def _roomy() -> Iterator[None]:
    """Let the allocator hold on to memory for the time of a task.

    Dask starts workers with MALLOC_TRIM_THRESHOLD_=65536, by which glibc gives every freed array back to the system at once; fetching pages again and
    again took more than half of the time of a batch. Afterwards all of it is given back.
    """
    libc = None
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") and sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_TRIM_THRESHOLD, 1 << 28)
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)
    try:
        yield
    finally:
        if libc is not None:
            with suppress(AttributeError, ValueError):
                libc.mallopt(M_TRIM_THRESHOLD, int(os.environ["MALLOC_TRIM_THRESHOLD_"]))
                libc.mallopt(M_MMAP_THRESHOLD, 1 << 17)
                libc.malloc_trim(0)


@contextmanager
def crew(scheduler: Any) -> Iterator[Here | Cluster]:
    """Whoever simulates: without a scheduler this process.

    Parameters
    ----------
    scheduler : str, distributed.Client, or None
        An address such as ``"tcp://10.0.0.1:8786"``.

    Raises
    ------
    TrialError
        When Dask is not installed, the scheduler does not answer, or no worker does.
    """
    if scheduler is None:
        yield Here()
        return
    try:
        dask = importlib.import_module("distributed")
    except ImportError as error:
        raise TrialError("scheduler= needs Dask: `pip install bayesdtr[cluster]`.") from error
    if isinstance(scheduler, dask.Client):
        yield Cluster(scheduler)
        return
    with connected(scheduler) as client:
        yield Cluster(client)


@contextmanager
def connected(scheduler: Any, file: str | None = None) -> Iterator[Any]:
    """A client of a scheduler, for the time of the context; functions of a user's file, and of files beside it, travel by value."""
    try:
        dask = importlib.import_module("distributed")
    except ImportError as error:
        raise TrialError("scheduler= needs Dask: `pip install bayesdtr[cluster]`.") from error
    if not isinstance(scheduler, str):
        raise TrialError(f"scheduler takes an address such as 'tcp://10.0.0.1:8786' or a distributed.Client, got {scheduler!r}.")
    client, failure = None, ""
    with _quiet():
        try:
            client = dask.Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            failure = type(error).__name__
        if client is None:
            # A client that was left half made closes itself when it is collected, and waits for ever if that is while the next one starts.
            gc.collect()
    if client is None:
        raise TrialError(f"No scheduler answers at {scheduler!r} within {PATIENCE:.0f} seconds ({failure}); start one with "
                         "`dask scheduler`, and give the address that it prints.")
    with client:
        if file is not None:
            by_value(Path(file).parent)
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Connections that fail are told of once, by the error."""
    logging = importlib.import_module("logging")
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
