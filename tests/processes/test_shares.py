"""Laws of dividing steps over processes: whoever dies and however many go on, every step counts once."""

import shutil

import numpy as np
import pytest

from jax_tda.artifacts import shares as shares_room
from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.shares import Shares
from jax_tda.core import processes
from jax_tda.core.errors import InputError

COUNT = 23


class Group:
    """Processes that take turns in one: each is asked for everything it does before the next begins."""

    def __init__(self, monkeypatch, place):
        self._patch, self._place = monkeypatch, place
        monkeypatch.setattr(processes, "agree", lambda function: function())
        monkeypatch.setattr(processes, "barrier", lambda name: None)
        monkeypatch.setattr(shares_room, "_PART_FOR_KEEPING", 1e9)

    def run(self, count, dies_after):
        """Each process sums its steps and their order; process i is killed in step dies_after[i]; all sums, or None."""
        members = []
        for index in range(count):
            self._become(count, index)
            members.append((index, Shares(begin(str(self._place), "sums", {}, {}), COUNT)))
        found = {}
        for index, mine in members:
            self._become(count, index)
            kept = mine.kept()
            state = {"sum": np.zeros(COUNT), "last": np.array(-1.0)}
            if kept:
                state = {name: kept(name) for name in state}
            work = mine.work(lambda: {name: value.copy() for name, value in state.items()})  # noqa: B023
            for number, step in enumerate(work):
                if number == dies_after[index]:
                    break
                assert step > state["last"], "a share is worked through in order"
                state["sum"][step] += 1
                state["last"] = np.array(float(step))
            else:
                found[index] = mine, state
        if len(found) < count:
            return None
        whole = []
        for index, (mine, state) in found.items():
            self._become(count, index)
            mine.whole(lambda: state)  # noqa: B023
        for index, (mine, state) in found.items():
            self._become(count, index)
            whole.append(sum(part("sum") for part in mine.whole(lambda: state)))  # noqa: B023
        return whole

    def _become(self, count, index):
        self._patch.setattr(processes, "count", lambda: count)
        self._patch.setattr(processes, "index", lambda: index)


@pytest.mark.parametrize("seed", range(12))
def test_every_step_counts_once_whoever_is_killed_and_however_many_go_on(tmp_path, monkeypatch, seed):
    """Law: after any history of kills and of other numbers of processes, each step was added exactly once."""
    random = np.random.default_rng(seed)
    group = Group(monkeypatch, tmp_path / "sums")
    for _ in range(int(random.integers(5))):
        count = int(random.integers(1, 5))
        assert group.run(count, [int(random.integers(3)) for _ in range(count)]) is None
    for whole in group.run(int(random.integers(1, 5)), [COUNT + 1] * 4):
        np.testing.assert_array_equal(whole, np.ones(COUNT))


def test_the_same_number_of_processes_takes_the_same_shares_again(tmp_path, monkeypatch):
    """Law: what a share holds does not hang on where it was cut off."""
    group = Group(monkeypatch, tmp_path / "sums")
    group.run(3, [2, 0, 4])
    taken = []
    for index in range(3):
        group._become(3, index)
        mine = Shares(begin(str(tmp_path / "sums"), "sums", {}, {}), COUNT)
        taken.append(mine.left.tolist())
    assert taken == [list(range(i, COUNT, 3))[done:] for i, done in enumerate((2, 0, 4))]


def test_a_process_that_was_given_up_for_dead_changes_nothing(tmp_path, monkeypatch):
    """Law: what a share of an earlier division records after the steps were divided anew is in no sum twice."""
    group = Group(monkeypatch, tmp_path / "sums")
    group._become(2, 0)
    writer = begin(str(tmp_path / "sums"), "sums", {}, {})
    ghost = Shares(writer, COUNT)
    group._become(1, 0)
    live = Shares(begin(str(tmp_path / "sums"), "sums", {}, {}), COUNT)
    group._become(2, 0)
    for _ in ghost.work(lambda: {"sum": np.ones(COUNT)}):
        pass
    group._become(1, 0)
    assert live.left.tolist() == list(range(COUNT))
    total = np.zeros(COUNT)
    for step in live.work(lambda: {"sum": total}):
        total[step] += 1
    np.testing.assert_array_equal(sum(part("sum") for part in live.whole(lambda: {"sum": total})), np.ones(COUNT))


def test_work_of_earlier_processes_that_is_gone_is_named_before_anything_is_made_of_the_rest(monkeypatch, tmp_path):
    """Law: a share that was recorded and is not there ends the job with a remedy, and no sum goes without it."""
    group = Group(monkeypatch, tmp_path / "sums")
    assert group.run(2, [5, 7]) is None
    shutil.rmtree(next((tmp_path / "sums" / "unfinished" / "scratch").iterdir()))
    with pytest.raises(InputError, match=r"(?s)is not whole.*remedy:.*delete the output"):
        group.run(1, [None])
