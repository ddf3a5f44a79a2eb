"""The simulator's own engines on worker processes: the numbers of this process to the last bit, also when a worker is killed."""

import os
import signal

import pytest
from cheap import all_arrays

import bayesdtr as dtr
from bayesdtr.gallery import small_n_smart, three_arm_adaptive
from bayesdtr.trial.batch import run_batch
from bayesdtr.trial.running.driving import Request, _job, carry_out, fill
from bayesdtr.trial.running.folder import Folder
from bayesdtr.trial.running.workers import crew

distributed = pytest.importorskip("distributed")

GALLERY = [three_arm_adaptive, small_n_smart]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two worker processes of one thread each."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  local_directory=str(tmp_path_factory.mktemp("dask"))) as made:
        yield made


def everything(module, keep, scheduler, replicates):
    """Bytes of all arrays of all runs of a gallery design."""
    request = Request.of(module.design, module.scenarios[1], replicates, seed=11, keep=keep, progress=False, scheduler=scheduler)
    return [{name: all_arrays(run) for name, run in runs.items()} for runs in carry_out(request, run_batch)]


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["looks", "patients"])
@pytest.mark.parametrize("module", GALLERY, ids=lambda m: m.__name__.rpartition(".")[2])
def test_workers_give_the_numbers_of_this_process(cluster, module, keep):
    replicates = 2100 if module is three_arm_adaptive and keep == "looks" else 300  # several tasks each, the last one shorter
    here, there = everything(module, keep, None, replicates), everything(module, keep, cluster.scheduler_address, replicates)
    assert [list(runs) for runs in here] == [list(runs) for runs in there] == [[module.scenarios[1].name]] * 2
    for one, other in zip(here, there, strict=True):
        for name in one:
            assert one[name].keys() == other[name].keys()
            assert not [field for field in one[name] if one[name][field] != other[name][field]]


def test_the_public_verb_gives_one_table_from_both(cluster):
    how = {"seed": 3, "progress": False}
    here = dtr.simulate(small_n_smart.design, small_n_smart.scenarios, 100, **how)
    there = dtr.simulate(small_n_smart.design, small_n_smart.scenarios, 100, scheduler=cluster.scheduler_address, **how)
    assert here.frame().equals(there.frame()) and str(here) == str(there)


def test_a_worker_killed_among_real_batches_loses_nothing(cluster, tmp_path):
    design, scenario = small_n_smart.design, small_n_smart.scenarios[1]
    folder = Folder(tmp_path / "o", design, 11, "looks")
    store = folder.store(scenario, False, write=True)
    with distributed.Client(cluster, set_as_default=False) as client:
        before, killed = set(client.run(os.getpid).values()), []

        class Assassin:
            """Kills one worker when some batches have come."""

            steps = 0

            def advance(self, n):
                self.steps += n
                if self.steps >= 250 and not killed:
                    killed.append(min(before))
                    os.kill(killed[0], signal.SIGKILL)

        with crew(client) as workers:
            fill(store, _job(design, scenario, folder, run_batch), 1000, workers, Assassin())
        client.wait_for_workers(2)
        after = set(client.run(os.getpid).values())
    assert len(killed) == 1 and killed[0] not in after
    assert store.replicates == 1000
    here = Request.of(design, scenario, 1000, seed=11, keep="looks", compare=False, progress=False)
    run = carry_out(here, run_batch)[0][scenario.name]
    assert not [name for name, array in all_arrays(run).items() if store.read(name, 0, 1000).tobytes() != array]
