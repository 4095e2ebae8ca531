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
    """Law: by hand: after the first 10, 30 of 120 in 15 s are 2 a second, and the other 80 take 40 s."""
    stream = Terminal(False)
    line = progress.Progress("encode", 120, "examples", stream=stream)
    clock[0] += 100
    line.advance(10)
    clock[0] += 15
    line.advance(30, "loss 2.5")
    assert stream.getvalue() == ("encode: 10/120 examples  ETA ?\nencode: 40/120 examples  2.0/s  ETA 0:40  loss 2.5\n")


def test_what_is_compiled_for_the_first_units_is_not_taken_for_their_pace(clock):
    """Law: an hour before the first unit leaves the time left of the others as it is; the last line says the mean."""
    stream = Terminal(False)
    line = progress.Progress("encode", 12, "units", stream=stream)
    clock[0] += 3600
    for _ in range(12):
        clock[0] += 10
        line.advance()
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("1/12 units  ETA ?") and lines[1].endswith("2/12 units  0.1/s  ETA 1:40")
    assert lines[-1] == "encode: 12/12 units  0.0/s  ETA 0:00"


def test_what_an_earlier_run_finished_is_done_but_was_not_fast(clock):
    """Law: by hand: 1,000 were there, 100 came first, 500 in 10 s: 50 a second, 8,400 left."""
    stream = Terminal(False)
    line = progress.Progress("encode", 10_000, "rows", done=1000, stream=stream)
    clock[0] += 12
    line.advance(100)
    clock[0] += 10
    line.advance(500)
    assert stream.getvalue().endswith("encode: 1,600/10,000 rows  50.0/s  ETA 2:48\n")


@pytest.mark.parametrize(("seconds", "text"), [(59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (36_061, "10:01:01")])
def test_time_left_is_written_as_on_a_clock(clock, seconds, text):
    """Law: minutes and seconds, and hours when there are any."""
    stream = Terminal(False)
    line = progress.Progress("x", 3, "units", stream=stream)
    line.advance()
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
