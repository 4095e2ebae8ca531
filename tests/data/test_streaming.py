"""Laws of tokenizing in segments: the same bytes however a corpus is cut, killed or divided, and ids stand once."""

import json
import threading

import pytest

from jax_tda.artifacts import artifact
from jax_tda.core import processes
from jax_tda.core.errors import InputError
from jax_tda.data import corpus, distinct, making, segments, tokenize, train_vocabulary

ROWS = [{"id": f"d{n}", "text": "word " * (1 + n % 7), "n": n} for n in range(40)]


def shards(place, *parts):
    place.mkdir()
    for number, rows in enumerate(parts):
        (place / f"part-{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(place)


@pytest.fixture
def config(tmp_path):
    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), str(tmp_path / "vocabulary"))
    source = shards(tmp_path / "source", ROWS[:25], [], ROWS[25:30], ROWS[30:])
    options = {"vocabulary": str(tmp_path / "vocabulary"), "context": 12, "shard_rows": 7}

    def make(given=source, **more):
        return tokenize.TokenizeConfig(source=given, **(options | more))

    return make


def tokenized(config, place):
    return corpus.Corpus(tokenize.run(config, str(place)))


@pytest.mark.parametrize("size", [1, 300, 2000])
def test_segments_of_any_size_make_the_same_artifact(config, tmp_path, monkeypatch, size):
    """One record each, a few, or many: digest and files are those of one segment a shard."""
    whole = tokenized(config(), tmp_path / "whole")
    assert whole.reader.manifest.facts["input_shards"] == 4
    assert list(dict.fromkeys(whole.documents)) == [row["id"] for row in ROWS]
    monkeypatch.setattr(segments, "BYTES", size)
    cut = tokenized(config(), tmp_path / "cut")
    assert cut.reader.manifest.digest == whole.reader.manifest.digest
    for name in whole.reader.manifest.files:
        assert (cut.reader.path / name).read_bytes() == (whole.reader.path / name).read_bytes()
    assert not (cut.reader.path / "unfinished").exists()


def test_a_killed_run_goes_on_where_it_stopped(config, tmp_path, monkeypatch):
    """Killed at any unit of either half, again and again: no finished record is cut twice, and the bytes are equal."""
    whole = tokenized(config(), tmp_path / "whole")
    monkeypatch.setattr(segments, "BYTES", 1)
    finish, cut, done, cuts = artifact.Writer.finish_unit, tokenize._pieces, [], []

    class Killed(BaseException):
        pass

    def finish_or_die(self, unit, facts):
        finish(self, unit, facts)
        done.append(unit)
        if len(done) % 5 == 0:
            raise Killed

    def counted(record, *rest):
        cuts.append(record.id)
        return cut(record, *rest)

    monkeypatch.setattr(artifact.Writer, "finish_unit", finish_or_die)
    monkeypatch.setattr(tokenize, "_pieces", counted)
    for _ in range(100):
        try:
            made = tokenized(config(), tmp_path / "killed")
            break
        except Killed:
            permits_of_the_dead(tmp_path / "killed")
    assert made.reader.manifest.digest == whole.reader.manifest.digest
    assert sorted(cuts) == sorted(row["id"] for row in ROWS) and len(set(done)) == len(done) > 40


def permits_of_the_dead(place):
    """What the system does when a process dies: its lease is free."""
    from jax_tda.core import permits

    permits.let_go()
    permits.release(f"{place}/")


class Together:
    """Threads that take themselves for the processes of one run."""

    def __init__(self, monkeypatch, count):
        self._mine, self._meet, self._said = threading.local(), threading.Barrier(count), None
        monkeypatch.setattr(processes, "count", lambda: count)
        monkeypatch.setattr(processes, "index", lambda: self._mine.index)
        monkeypatch.setattr(processes, "barrier", lambda name: self._meet.wait())
        monkeypatch.setattr(processes, "agree", self._agree)
        self.found, self._count = [None] * count, count

    def _agree(self, function):
        if self._mine.index == 0:
            try:
                self._said = ("value", json.loads(json.dumps(function())))
            except InputError as error:
                self._said = ("refused", error)
        self._meet.wait()
        kind, value = self._said
        self._meet.wait()
        if kind == "refused":
            raise value
        return value

    def run(self, function):
        def work(index):
            self._mine.index = index
            try:
                self.found[index] = function()
            except InputError as error:
                self.found[index] = error
            except BaseException:
                self._meet.abort()
                raise

        threads = [threading.Thread(target=work, args=(index,)) for index in range(self._count)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return self.found


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_processes_makes_the_same_artifact(config, tmp_path, monkeypatch, count):
    """Input shards and output shards are dealt; each record is cut by one of them."""
    whole = tokenized(config(), tmp_path / "whole")
    cut, cuts = tokenize._pieces, []

    def counted(record, *rest):
        cuts.append((processes.index(), record.id))
        return cut(record, *rest)

    monkeypatch.setattr(tokenize, "_pieces", counted)
    found = Together(monkeypatch, count).run(lambda: tokenize.run(config(), str(tmp_path / "shared")))
    assert {made.manifest.digest for made in found} == {whole.reader.manifest.digest}
    assert sorted(name for _, name in cuts) == sorted(row["id"] for row in ROWS)
    assert {who for who, _ in cuts} >= {0, 2 % count}


def test_a_bad_record_that_one_process_meets_is_refused_by_all(config, tmp_path, monkeypatch):
    """In the same words; and once it is mended the same command goes on."""
    source = shards(tmp_path / "bad", ROWS[:3], [{"id": "x"}], ROWS[3:5])
    found = Together(monkeypatch, 2).run(lambda: tokenize.run(config(source), str(tmp_path / "out")))
    assert len({str(error) for error in found}) == 1
    assert "part-1.jsonl, line 1: missing field 'text'" in str(found[0])
    (tmp_path / "bad/part-1.jsonl").write_text(json.dumps({"id": "x", "text": "y"}))
    again = Together(monkeypatch, 2).run(lambda: tokenize.run(config(source), str(tmp_path / "out")))
    assert again[0].manifest.facts["documents"] == 6


@pytest.mark.parametrize("at_once", [1 << 20, 9])
def test_an_id_that_stands_twice_is_found_wherever_it_stands(config, tmp_path, monkeypatch, at_once):
    """Across shards and segments, in memory or in parts: both places are named, or the later one is left out."""
    monkeypatch.setattr(distinct, "_AT_ONCE", at_once)
    monkeypatch.setattr(segments, "BYTES", 500)
    later = [{"id": "d3", "text": "other"}, {"id": "new", "text": "much longer than the context"}, ROWS[5]]
    source = shards(tmp_path / "twice", ROWS[:20], later, ROWS[20:22])
    with pytest.raises(InputError, match=r"(?s)part-1\.jsonl, line 1: dup.*first at .*part-0\.jsonl, line 4"):
        tokenize.run(config(source), str(tmp_path / "refused"))
    made = tokenized(config(source, on_bad_record="skip"), tmp_path / "skipped")
    plain = tokenized(config(shards(tmp_path / "once", ROWS[:20], later[1:2], ROWS[20:22])), tmp_path / "plain")
    for name in ("records.jsonl", "tokens.digests", "spans.digests"):
        assert (made.reader.path / name).read_bytes() == (plain.reader.path / name).read_bytes()
    facts, theirs = made.reader.manifest.facts, plain.reader.manifest.facts
    assert facts["rejected"] == {"duplicate id": 2}
    assert {name: value for name, value in facts.items() if name != "rejected"} == {
        name: value for name, value in theirs.items() if name != "rejected"
    }


def test_a_document_called_like_a_piece_of_another_shard_is_refused(config, tmp_path):
    """Both places are named; a split document may be called so, as its own pieces are called otherwise."""
    long = {"id": "a", "text": "longer than the context"}
    source = shards(tmp_path / "clash", [long], [{"id": "a#1", "text": "x"}])
    with pytest.raises(InputError, match=r"(?s)2 examples called 'a#1'.*part-0\.jsonl, line 1.*part-1\.jsonl, line 1"):
        tokenize.run(config(source), str(tmp_path / "out"))
    fine = shards(tmp_path / "fine", [long], [{**long, "id": "a#1"}])
    assert tokenized(config(fine), tmp_path / "both").reader.manifest.facts["documents"] == 2


def test_a_segment_is_all_that_is_held(config, tmp_path, monkeypatch):
    """A draft is written as soon as it is full, so that no more than one record above its bound is in memory."""
    monkeypatch.setattr(segments, "BYTES", 400)
    sizes, write = [], making.Draft.write

    def seen(self, folder, last):
        sizes.append(self._bytes + 4 * len(self._tokens))
        return write(self, folder, last)

    monkeypatch.setattr(making.Draft, "write", seen)
    tokenized(config(), tmp_path / "out")
    assert len(sizes) > 8 and max(sizes) < 400 + 700
