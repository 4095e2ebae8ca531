"""One job at a time writes an output: a living owner is respected, a dead one replaced, a lost lease ends the job."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jax_tda.artifacts import key_value, lease
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.core.errors import InputError

ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that stands until it is told to go."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Goes on, instead of waiting."""
        self.now += seconds


@pytest.fixture(params=["file", "memory"])
def place(request, tmp_path):
    """A directory that leases lie in, on disk and in TensorStore's own memory."""
    return str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}"


def write(place: str, **changed) -> dict:
    """Somebody else's lease, as another process would have left it."""
    owner = {"token": "theirs", "host": "elsewhere", "machine": "another", "process": 7, "started": "1"}
    owner |= {"taken": 900.0, "expires": 1010.0} | changed
    key_value.open_store(place).write(lease.NAME, json.dumps(owner).encode()).result()
    return owner


def held(place: str) -> dict | None:
    found = key_value.open_store(place).read(lease.NAME).result()
    return json.loads(found.value) if found.state == "value" else None


def take(place: str, clock=time.time, lifetime: float = 1000.0, sleep=pytest.fail) -> lease.Lease:
    return lease.Lease(key_value.open_store(place), "OUT", lifetime, clock, sleep)


def test_a_free_lease_is_taken_and_given_back(place):
    """The file names its owner while it is held, and is gone afterwards."""
    taken = take(place)
    owner = held(place)
    assert owner is not None and owner["process"] == os.getpid() and owner["expires"] > time.time()
    taken.check()
    taken.release()
    assert held(place) is None


def test_a_lease_that_nobody_holds_any_more_is_given_back(place):
    """As at the end of a job that failed: its Writer is gone."""
    taken = take(place)
    assert held(place) is not None
    del taken
    gc.collect()
    assert held(place) is None


def test_a_living_lease_of_another_machine_is_refused_by_host_process_and_age(place):
    """As soon as it is seen to be renewed; in four parts, and what lies there is left as it was."""
    write(place)
    clock, renewed = Clock(), []

    def sleep(seconds):
        clock.sleep(seconds)
        if clock.now >= 1003.0:
            renewed.append(write(place, expires=1030.0))

    said = r"(?s)another job is writing OUT.*process 7 on elsewhere, taken 103 s ago.*another 7 s.*remedy.*wait"
    with pytest.raises(InputError, match=said):
        take(place, clock, 30.0, sleep)
    assert renewed == [held(place)]


def test_a_lease_that_another_machine_no_longer_renews_is_waited_for_and_taken_over(place):
    """Not at its expiry to the second, for clocks may differ; one that is given back meanwhile is taken then."""
    write(place)
    clock = Clock()
    take(place, clock, 30.0, clock.sleep).release()
    assert 1015.0 <= clock.now <= 1016.0
    write(place, expires=1040.0)
    store = key_value.open_store(place)
    take(place, clock, 30.0, lambda seconds: (clock.sleep(seconds), store.write(lease.NAME, None).result())).release()
    assert clock.now < 1018.0


def test_a_lease_that_is_good_for_longer_than_any_is_not_waited_for(place):
    """Another program's, or a clock that is far off: nobody knows how long that would take."""
    theirs = write(place, expires=1e12)
    with pytest.raises(InputError, match="process 7 on elsewhere"):
        take(place, Clock(), 30.0)
    assert held(place) == theirs


def test_a_dead_process_of_this_machine_is_replaced_at_once_and_a_living_one_is_not(place):
    """However long its lease would still be good; a number that another process has by now is not the owner."""
    mine = {"machine": lease._machine(), "expires": 1e12}
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            write(place, process=other.pid, started=lease._started(other.pid), **mine)
            with pytest.raises(InputError, match=f"process {other.pid} on elsewhere"):
                take(place)
            write(place, process=other.pid, started="an earlier start", **mine)
            take(place).release()
            write(place, process=other.pid, started=lease._started(other.pid), **mine)
        finally:
            other.kill()
    taken = take(place)
    assert held(place)["process"] == os.getpid()
    taken.check()


def test_whoever_lost_the_lease_ends_before_it_writes_more(place):
    """Taken by another after it had expired: the first job's next write is refused, and the new lease stays."""
    clock = Clock()
    first = take(place, clock, 30.0)
    clock.now += 100
    theirs = write(place, taken=1099.0, expires=1130.0)
    with pytest.raises(InputError, match=r"(?s)the lease of OUT was lost.*held by process 7 on elsewhere"):
        first.check()
    first.release()
    assert held(place) == theirs


def test_a_job_that_slept_past_its_expiry_goes_on_if_nobody_noticed(place):
    """As after a suspended machine: the lease is still its own, and is good again."""
    clock = Clock()
    taken = take(place, clock, 30.0)
    clock.now += 100
    taken.check()
    assert held(place)["expires"] == clock.now + 30


def test_a_lease_is_renewed_while_it_is_held(place):
    """By a thread, without a word from the job; until it is stopped."""
    taken = take(place, lifetime=0.2)
    before = held(place)["expires"]
    for _ in range(500):
        time.sleep(0.01)
        if held(place)["expires"] > before:
            break
    assert held(place)["expires"] > before
    taken.stop()


def test_of_many_that_race_for_a_lease_one_has_it(place):
    """Law: compare-and-swap. All see the same expired lease; every winner but the last one has lost by now."""
    for _ in range(5):
        write(place, expires=0.0)
        gate, taken = threading.Barrier(8), []

        def race(gate=gate, taken=taken):
            gate.wait()
            taken.append(take(place))

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # One process may replace its own; what it may not do is hold two that are both good.
        owner = held(place)["token"]
        for one in taken:
            one.renew()
        good = [one for one in taken if not one._lost]
        assert [one._owner["token"] for one in good] == [owner]
        good[0].release()


def test_a_broken_lease_is_nobodys(place):
    """What was cut short, or never was one."""
    for content in (b"", b"{", b"[1]", b'{"token": "x"}'):
        key_value.open_store(place).write(lease.NAME, content).result()
        taken = take(place)
        assert held(place)["process"] == os.getpid()
        taken.release()


JOB = """
import sys, time
from jax_tda.artifacts.artifact import begin
writer = begin(sys.argv[1], "thing", {}, {})
writer.write_json("value.json", 1)
print("holds", flush=True)
time.sleep(600)
"""


def test_two_jobs_on_one_output_are_one_that_works_and_one_that_is_refused(tmp_path):
    """The second changes no byte; when the first is killed, the second goes on at once where it stopped."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert first.stdout.readline() == "holds\n"
        with pytest.raises(InputError, match=rf"(?s)another job is writing .*a.*process {first.pid} on "):
            begin(str(tmp_path / "a"), "thing", {}, {})
        assert (tmp_path / "a" / "value.json").read_text() == "1\n"
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    writer.write_json("value.json", 2)
    writer.finish({})
    assert open_artifact(str(tmp_path / "a")).read_json("value.json") == 2
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["manifest.json", "value.json"]


def test_a_writer_whose_lease_is_lost_writes_nothing_more(tmp_path):
    """Neither files, nor shards, nor units, nor the manifest."""
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    array = writer.array("numbers", (2, 2), "float32", 2)
    write(str(tmp_path / "a" / "unfinished"), taken=time.time(), expires=time.time() + 100)
    writer.lease.renew()
    for attempt in (
        lambda: writer.write_json("value.json", 1),
        lambda: writer.write_lines("rows.jsonl", [1]),
        lambda: array.write_shard(0, np.zeros((2, 2), np.float32)),
        lambda: writer.finish_unit("one", {}),
        lambda: writer.finish({}),
    ):
        with pytest.raises(InputError, match="was lost"):
            attempt()
    names = {str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert names == {"numbers/zarr.json", "unfinished/plan.json", "unfinished/lease.json"}


def test_a_job_that_finds_its_work_done_leaves_no_lease(tmp_path):
    """Law: the same command again answers with the artifact, whoever made it."""
    begin(str(tmp_path / "a"), "thing", {}, {}).finish({})
    assert isinstance(begin(str(tmp_path / "a"), "thing", {}, {}), Reader)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["manifest.json"]
