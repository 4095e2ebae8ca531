"""Laws of the progress line, under a clock that the test turns."""

import io

import pytest

from jax_tda.core import progress


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def clock(monkeypatch):
    """Seconds since some moment, in a list of one that the test may change."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_tells_the_rate_and_the_time_left(clock):
    """Law: by hand: 30 of 120 in 15 s are 2 a second, and the other 90 take 45 s."""
    stream = Terminal(False)
    line = progress.Progress("encode", 120, "examples", stream=stream)
    clock[0] += 15
    line.advance(30, "loss 2.5")
    assert stream.getvalue() == "encode: 30/120 examples  2.0/s  ETA 0:45  loss 2.5\n"


def test_what_an_earlier_run_finished_is_done_but_was_not_fast(clock):
    """Law: by hand: 1,000 were there, 500 came in 10 s: 50 a second, 8,500 left."""
    stream = Terminal(False)
    line = progress.Progress("encode", 10_000, "rows", done=1000, stream=stream)
    clock[0] += 10
    line.advance(500)
    assert stream.getvalue() == "encode: 1,500/10,000 rows  50.0/s  ETA 2:50\n"


@pytest.mark.parametrize(("seconds", "text"), [(59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (36_061, "10:01:01")])
def test_time_left_is_written_as_on_a_clock(clock, seconds, text):
    """Law: minutes and seconds, and hours when there are any."""
    stream = Terminal(False)
    line = progress.Progress("x", 2, "units", stream=stream)
    clock[0] += seconds
    line.advance()
    assert f"ETA {text}\n" in stream.getvalue()


@pytest.mark.parametrize(("terminal", "most"), [(False, 12), (True, 501)])
def test_a_log_gets_few_lines_and_a_terminal_one_that_is_rewritten(clock, terminal, most):
    """Law: 10,000 units in 100 s: a line every ten seconds in a log, at most five a second on a terminal, the last."""
    stream = Terminal(terminal)
    line = progress.Progress("encode", 10_000, "units", stream=stream)
    for _ in range(10_000):
        clock[0] += 0.01
        line.advance()
    text = stream.getvalue()
    assert 10 <= text.count("encode:") <= most
    assert text.count("\n") == (1 if terminal else text.count("encode:"))
    assert text.count("\r") == (text.count("encode:") if terminal else 0)
    assert "10,000/10,000" in text.rpartition("encode:")[2] and text.endswith("\n")


def test_tracking_gives_every_item_and_counts_it_afterwards(clock, capsys):
    """Law: items in order, none lost; the last line says all."""
    assert list(progress.track("abc", "spell", 3, "letters")) == ["a", "b", "c"]
    assert "spell: 3/3 letters" in capsys.readouterr().err


def test_nothing_done_in_no_time_is_no_division_by_zero(clock):
    """Law: without a rate there is no estimate."""
    stream = Terminal(False)
    progress.Progress("x", 5, "units", stream=stream).advance(0)
    assert "ETA ?" in stream.getvalue()
