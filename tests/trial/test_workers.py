"""A real scheduler with worker processes gives the same numbers as this process, also when a worker is killed."""

import gc
import os
import signal
import time

import numpy as np
import pytest
from cheap import Weather, all_arrays, busy, cheap, counting, design, slow

from bayesdtr.errors import TrialError
from bayesdtr.trial.running.driving import Request, carry_out
from bayesdtr.trial.running.workers import crew

distributed = pytest.importorskip("distributed")


def asked(replicates, scheduler=None, out=None, **how):
    return Request.of(design(), [Weather("dry"), Weather("wet", 0.5)], replicates, seed=5, progress=False, scheduler=scheduler, out=out, **how)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two worker processes of one thread each, which can import what this file can."""
    old = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.path.dirname(__file__)
    scratch = str(tmp_path_factory.mktemp("dask"))
    made = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=scratch)
    yield made
    made.close()
    if old is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = old


def test_the_same_numbers_from_an_address_and_from_a_client(cluster):
    here = carry_out(asked(300), cheap)
    with distributed.Client(cluster, set_as_default=False) as client:
        for scheduler in (cluster.scheduler_address, client):
            there = carry_out(asked(300, scheduler), cheap)
            for one, other in zip(here, there, strict=True):
                assert {n: all_arrays(r) for n, r in one.items()} == {n: all_arrays(r) for n, r in other.items()}
        assert client.status == "running"  # a client that was given is left as it was


def test_a_worker_killed_in_mid_run_loses_nothing(cluster, tmp_path):
    with distributed.Client(cluster, set_as_default=False) as client:
        before = client.run(os.getpid)
        victims = iter(before.values())
        killed = []

        class Assassin:
            """Kills one worker when some batches have come."""

            steps = 0

            def advance(self, n):
                self.steps += 1
                if self.steps == 3:
                    killed.append(next(victims))
                    os.kill(killed[0], signal.SIGKILL)

        from bayesdtr.trial.running.driving import _job, fill
        from bayesdtr.trial.running.folder import Folder

        folder = Folder(tmp_path / "o", design(), 5, None)
        store = folder.store(Weather("dry"), False, write=True)
        with crew(client) as workers:
            fill(store, _job(design(), Weather("dry"), folder, slow), 2000, workers, Assassin())
        after = client.run(os.getpid)
    assert len(killed) == 1 and killed[0] not in after.values()
    direct = cheap(design(), Weather("dry"), np.arange(2000), seed=5, keep="looks")
    assert store.replicates == 2000
    assert all(store.read(n, 0, 2000).tobytes() == a.tobytes() for n, a in direct.items())


def test_a_run_begun_here_goes_on_there_and_back(cluster, tmp_path, monkeypatch):
    carry_out(asked(100, out=tmp_path / "o"), cheap)
    carry_out(asked(700, cluster.scheduler_address, out=tmp_path / "o"), cheap)
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    runs, _ = carry_out(asked(800, out=tmp_path / "o"), counting)
    assert len((tmp_path / "counted").read_text().splitlines()) == 400
    assert all_arrays(runs["wet"]) == all_arrays(carry_out(asked(800, keep="looks"), cheap)[0]["wet"])


def test_an_error_on_a_worker_is_told_and_what_is_finished_stays(cluster, tmp_path):
    def fails_late(design, scenario, replicates, **how):
        if replicates[0] >= 256:
            raise TrialError(f"no replicate {replicates[0]}")
        return cheap(design, scenario, replicates, **how)

    with pytest.raises(TrialError, match="no replicate"):
        carry_out(asked(2000, cluster.scheduler_address, out=tmp_path / "o"), fails_late)


def test_an_unreachable_scheduler_is_refused_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr("bayesdtr.trial.running.workers.PATIENCE", 2.0)
    start = time.monotonic()
    for address in ("tcp://127.0.0.1:9", "nowhere", "http://127.0.0.1:9"):
        with pytest.raises(TrialError, match=r"No scheduler answers at .*dask scheduler"):
            carry_out(asked(100, address, out=tmp_path / "o"), cheap)
    assert time.monotonic() - start < 20 and not (tmp_path / "o").exists()
    with pytest.raises(TrialError, match="scheduler takes an address"):
        carry_out(asked(100, 8786, out=tmp_path / "o"), cheap)


def clients():
    """Count clients that exist; by their type, since `isinstance` follows weak proxies that other tests left behind, dead ones too."""
    return sum(issubclass(type(o), distributed.Client) for o in gc.get_objects())


def test_nothing_is_left_of_a_client_that_found_no_scheduler(monkeypatch):
    """What is left closes itself at some later time, and where that is inside the start of another client both wait for ever."""
    monkeypatch.setattr("bayesdtr.trial.running.workers.PATIENCE", 1.0)
    gc.collect()
    gc.disable()
    try:
        before = clients()
        with pytest.raises(TrialError, match="No scheduler answers"):
            carry_out(asked(100, "tcp://127.0.0.1:9"), cheap)
        assert clients() == before
    finally:
        gc.enable()


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(TrialError, match=r"pip install bayesdtr\[cluster\]"):
        carry_out(asked(100, "tcp://127.0.0.1:8786"), cheap)


@pytest.mark.benchmark
def test_two_workers_are_nearly_twice_as_fast_as_one(tmp_path):
    """Each batch is half a second of work for one core."""
    seconds = {}
    os.environ["PYTHONPATH"] = os.path.dirname(__file__)
    for workers in (1, 2):
        with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
                                      local_directory=str(tmp_path)) as made, distributed.Client(made, set_as_default=False) as client:
            carry_out(asked(100, client), cheap)
            start = time.perf_counter()
            carry_out(Request.of(design(), Weather("dry"), 2048, seed=5, progress=False, scheduler=client, compare=False), busy)
            seconds[workers] = time.perf_counter() - start
    assert seconds[1] / seconds[2] >= 1.8, seconds
