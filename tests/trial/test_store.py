"""Runs on disk: they are kept whole, survive being killed at any moment, and are taken up again to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from cheap import Weather, all_arrays, cheap, counting, design

from bayesdtr.errors import TrialError
from bayesdtr.trial.records import FIELDS, kept, shape
from bayesdtr.trial.running.driving import Request, _job, carry_out, fill, reopen
from bayesdtr.trial.running.folder import Folder
from bayesdtr.trial.running.store import CHUNK, checksum

HERE = Path(__file__).resolve().parents[2]


def kept_run(out, replicates=1300, runner=cheap, **how):
    given = {"seed": 5, "progress": False, "out": out, **how}
    return carry_out(Request.of(design(), [Weather("dry"), Weather("wet", 0.5)], replicates, **given), runner)


def test_what_is_kept_is_what_was_simulated(tmp_path):
    runs, equal = kept_run(tmp_path / "o", keep="patients")
    for twin, made in ((design(), runs), (design().equal, equal)):
        for name, shift in (("dry", 0.0), ("wet", 0.5)):
            direct = cheap(twin, Weather(name, shift), np.arange(1300), seed=5, keep="patients")
            assert set(direct) == set(kept("patients")) == set(FIELDS)
            for field, array in direct.items():
                there = made[name][field]
                assert there.dtype == array.dtype and there.shape == array.shape == shape(field, design().layout, 1300)
                assert there.tobytes() == array.tobytes()
    assert not np.array_equal(runs["dry"]["mean"], equal["dry"]["mean"]) and not np.array_equal(runs["dry"]["mean"], runs["wet"]["mean"])
    part = runs["wet"].records(slice(500, 530))
    assert part["mean"].tobytes() == runs["wet"]["mean"][500:530].tobytes() and len(part["size"]) == 30


def test_the_folder_is_plain_zarr_with_its_story(tmp_path):
    kept_run(tmp_path / "o")
    root = zarr.open_group(tmp_path / "o" / "run.zarr", mode="r")
    assert root.attrs["seed"] == 5 and root.attrs["keep"] == "looks" and "jax" in root.attrs["versions"]
    assert root.attrs["design"]["size"] == 12 and root["wet"].attrs["scenario"]["description"] == {"name": "wet", "shift": 0.5}
    array = root["wet"]["equal"]["p_best_look"]
    assert array.metadata.dimension_names == ("replicate", "look", "regime") and array.shape == (1300, 2, 2) and array.chunks[0] == CHUNK


def test_a_folder_is_gone_on_with_not_begun_again(tmp_path, monkeypatch):
    notes = tmp_path / "counted"
    monkeypatch.setenv("COUNTED", str(notes))
    kept_run(tmp_path / "o", runner=counting)
    assert len(notes.read_text().splitlines()) == 4 * 1300
    notes.unlink()
    kept_run(tmp_path / "o", runner=counting)
    assert not notes.exists()
    runs, _ = kept_run(tmp_path / "o", replicates=700, runner=counting)  # fewer than there are: the first of them
    assert not notes.exists() and runs["dry"].replicates == 700 and len(runs["dry"]["mean"]) == 700


def test_without_a_folder_a_run_lives_as_long_as_it_is_held():
    runs, equal = carry_out(Request.of(design(), Weather("dry"), 40, seed=5, progress=False), cheap)
    run, folder = runs["dry"], Path(runs["dry"].held.name)
    assert run.keep == "summary" and folder.is_dir() and run["mean"].shape == (40, 2)
    with pytest.raises(TrialError, match=r"'mean_look' was not kept; simulate with keep='looks'"):
        run["mean_look"]
    with pytest.raises(TrialError, match=r"no array 'meen'.*did you mean 'mean'"):
        run["meen"]
    del runs, equal, run
    assert not folder.exists()


KILLED = """
import os, random, signal, sys, time
from bayesdtr.trial.running.driving import Request, carry_out
import bayesdtr.trial.running.store as store
import bayesdtr.trial.running.workers as workers
from cheap import Weather, cheap, design

store.CHUNK = 32  # many small batches, many moments to die in
workers.Here.parts = 2  # chunks are written in two parts
random.seed(int(sys.argv[2]))
kills = 0
while True:
    child = os.fork()
    if not child:
        carry_out(Request.of(design(), [Weather("dry")], 1500, seed=5, progress=False, out=sys.argv[1]), cheap)
        os._exit(0)
    if kills < 8:
        time.sleep(random.uniform(0.05, 0.5))
        os.kill(child, signal.SIGKILL)
    code = os.waitpid(child, 0)[1]
    kills += os.WIFSIGNALED(code)
    if not os.WIFSIGNALED(code):
        break
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_and_taken_up_again_to_the_last_bit(tmp_path):
    whole = carry_out(Request.of(design(), [Weather("dry")], 1500, seed=5, progress=False, out=tmp_path / "whole"), cheap)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "o"), "1"], cwd=HERE, check=True, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(HERE / "tests" / "trial")})
    assert int(done.stdout) >= 3
    _, _, there = reopen(tmp_path / "o", design(), {"dry": Weather("dry")})
    for one, other in zip(whole, there, strict=True):
        assert all_arrays(one["dry"]) == all_arrays(other["dry"]) and other["dry"].replicates == 1500
    for variant in ("adaptive", "equal"):
        lines = (tmp_path / "o" / "commits" / f"dry-{variant}.log").read_text().splitlines()
        spans = sorted(tuple(json.loads(line)["batch"]) for line in lines if "batch" in line)
        assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])] and spans[-1][1] == 1500  # each replicate counted once, none twice


def test_a_torn_line_and_a_damaged_chunk_do_not_count(tmp_path, monkeypatch):
    runs, _ = kept_run(tmp_path / "o")
    want = all_arrays(runs["dry"])
    log = tmp_path / "o" / "commits" / "dry-adaptive.log"
    log.write_bytes(log.read_bytes()[:-9])  # the last line is torn
    chunk = tmp_path / "o" / "run.zarr" / "dry" / "adaptive" / "mean" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    (tmp_path / "o" / "run.zarr" / "dry" / "adaptive" / "size" / "c" / "1").unlink()
    with pytest.raises(TrialError, match="No replicate under 'dry' is finished"):
        reopen(tmp_path / "o", design(), {"dry": Weather("dry")})
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    runs, _ = kept_run(tmp_path / "o", runner=counting)
    assert len((tmp_path / "counted").read_text().splitlines()) == 1300 and all_arrays(runs["dry"]) == want


def test_parts_of_a_chunk_are_written_together_and_those_left_alone_too(tmp_path):
    class Late:
        """Parts come in another order than asked for, and one never."""

        parts = 4

        def batches(self, job, spans):
            spans = list(spans)
            for span in [spans[i] for i in (3, 1, 0, 2, 5, 7, 4)]:
                yield span, job.batch(span)
            raise TrialError("the worker is gone")

    class Bar:
        steps = 0

        def advance(self, n):
            self.steps += n

    folder = Folder(tmp_path / "o", design(), 5, "summary")
    store, bar = folder.store(Weather("dry"), False, write=True), Bar()
    with pytest.raises(TrialError, match="the worker is gone"):
        fill(store, _job(design(), Weather("dry"), folder, cheap), 2 * CHUNK, Late(), bar)
    quarter = CHUNK // 4
    assert list(store.done) == [(0, CHUNK), (CHUNK, CHUNK + 2 * quarter), (CHUNK + 3 * quarter, 2 * CHUNK)]
    assert bar.steps == 7 * quarter and list(store.missing(2 * CHUNK)) == [(CHUNK + 2 * quarter, CHUNK + 3 * quarter)]
    direct = cheap(design(), Weather("dry"), np.arange(2 * CHUNK), seed=5, keep="summary")
    for start, stop in store.done:
        assert all(store.read(n, start, stop).tobytes() == direct[n][start:stop].tobytes() for n in kept("summary"))


def test_records_unlike_the_contract_are_not_kept(tmp_path):
    def short(design, scenario, replicates, **how):
        return {n: a[:-1] for n, a in cheap(design, scenario, replicates, **how).items()}

    with pytest.raises(TrialError, match="instead of int16"):
        kept_run(tmp_path / "o", runner=short)
    with pytest.raises(TrialError, match="No replicate"):
        reopen(tmp_path / "o", design(), {"dry": Weather("dry")})


def test_other_versions_go_on_only_where_they_give_the_same_numbers(tmp_path, monkeypatch):
    kept_run(tmp_path / "o", replicates=600)
    now = {"versions": {"jax": "999"}, "fingerprint": "other"}
    monkeypatch.setattr("bayesdtr.trial.running.driving.session", lambda: now)
    runs, _ = kept_run(tmp_path / "o", replicates=700)
    assert [v["jax"] for v in runs["dry"].versions][-1] == "999" and len(runs["dry"].versions) == 2

    def other(design, scenario, replicates, **how):
        made = cheap(design, scenario, replicates, **how)
        made["sd"][:] = np.nextafter(made["sd"], 1)
        return made

    now["fingerprint"] = "third"
    with pytest.raises(TrialError, match=r"come out differently now \('sd' differs"):
        kept_run(tmp_path / "o", replicates=800, runner=other)


def test_a_checksum_sees_a_single_bit():
    made = cheap(design(), Weather("dry"), np.arange(3), seed=1)
    before = checksum(made, "summary")
    made["upper"][2, 1] = np.nextafter(made["upper"][2, 1], 1)
    assert checksum(made, "summary") != before
