"""What encode stores in each format: what float32 stores, there and back, also after an interruption."""

import pytest

from jax_tda.artifacts.artifact import Writer
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.encoding import run as encode
from tests.jobs import tiny_road

FORMATS = [StoreConfig("bfloat16"), StoreConfig("int8", step=0.3), StoreConfig("int4", rank=1)]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    place = tmp_path_factory.mktemp("road")
    tiny_road.trained(place, tiny_road.tokenized(place, "corpus", tiny_road.passages(7)))
    return place


def config(road, store):
    return encode.EncodeConfig(
        str(road / "corpus"), str(road / "checkpoint_0"), projected_size=3, shard_rows=2, buckets=1, store=store
    )


def files(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


class InterruptedError(Exception):
    """The end of a process, without one."""


def test_every_format_stores_the_same_encodings_and_resumes_to_the_same_bytes(road, tmp_path, monkeypatch):
    """Decoded, a store is float32's there and back; stopped between data and record, it ends at the same bytes."""
    encode.run(config(road, StoreConfig()), str(tmp_path / "float32"))
    plain = open_encodings(str(tmp_path / "float32"))
    values = plain.read(0, 7).reshape(7, len(plain.blocks), 3, 3)
    finish_unit = Writer.finish_unit
    for number, store in enumerate(FORMATS):
        whole, stopped = tmp_path / f"whole_{number}", tmp_path / f"stopped_{number}"
        encode.run(config(road, store), str(whole))
        opened = open_encodings(str(whole))
        assert (opened.read(0, 7) == store.round_trip(values).reshape(7, len(plain.blocks), 9)).all()
        assert opened.facts["store"] == {"type": store.type, "rank": store.rank, "step": store.step}

        def stop(writer, unit, facts):
            if unit.endswith("2"):
                raise InterruptedError
            finish_unit(writer, unit, facts)

        monkeypatch.setattr(Writer, "finish_unit", stop)
        with pytest.raises(InterruptedError):
            encode.run(config(road, store), str(stopped))
        monkeypatch.setattr(Writer, "finish_unit", finish_unit)
        encode.run(config(road, store), str(stopped))
        one, other = files(whole), files(stopped)
        assert one.keys() == other.keys() and one.pop("manifest.json") and other.pop("manifest.json")
        assert one == other
        assert opened.reader.manifest.digest == open_encodings(str(stopped)).reader.manifest.digest


def test_a_plan_names_the_format_and_its_bytes(road):
    """Seven examples of blocks of 3 × 3: a byte a number and four for each block's scale."""
    said = encode.plan(config(road, StoreConfig("int8", step=0.3)), "out")
    assert "of 3×3 in int8 = 0.0 MiB before compression" in said
    assert "in bfloat16, rank 1 = " in encode.plan(config(road, StoreConfig("bfloat16", rank=1)), "out")
