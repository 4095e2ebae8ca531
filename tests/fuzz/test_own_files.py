"""Damaged manifests, rankings and settings: what can be read off the file by hand, or a refusal in four parts."""

import json

import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.jobs import bindings, settings, table
from tests.fuzz import batches, mutations

ROWS = [
    ranking.row(
        f"q{query}", query > 0, [{"id": f"p{n}", "score": 1.0 - n / 8} for n in range(4)], [{"id": "p9", "score": -1.0}]
    )
    for query in range(3)
]


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_manifest_is_refused_or_says_what_stands_in_it(tmp_path, seed, count):
    """Law: an artifact that opens has the facts that its manifest's JSON holds, and gives the files that it lists."""
    writer = begin(str(tmp_path), "thing", {"size": 3, "name": "x"}, {})
    writer.write_lines("rows.jsonl", [{"n": n} for n in range(5)])
    writer.finish({"rows": 5, "share": 0.5})
    path = tmp_path / "manifest.json"
    whole = json.loads(path.read_text())
    shares = batches.Shares()
    for number, random in batches.randoms(seed, count):
        path.write_bytes(mutations.json_text(whole, random))

        def read():
            reader = open_artifact(str(tmp_path), "thing")
            return reader.manifest.facts, list(reader.read_lines("rows.jsonl"))

        read_value, refusal = batches.verdict(read, number)
        shares.count(refusal)
        if refusal is None:
            assert read_value == (json.loads(path.read_text())["facts"], [{"n": n} for n in range(5)]), number
    shares.check(read=False)  # A manifest holds its own digest.


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_ranking_is_refused_or_read_in_the_order_of_its_scores(tmp_path, seed, count):
    """Law: what is read are the file's own pairs, proponents falling and opponents rising; else it is refused."""
    path, shares = tmp_path / "theirs.jsonl", batches.Shares()
    for number, random in batches.randoms(seed, count):
        rows = mutations.json_value(ROWS, random)
        lines = [json.dumps(row) for row in rows] if isinstance(rows, list) else [json.dumps(rows)]
        data = "\n".join(lines).encode()
        path.write_bytes(mutations.damaged(data, random) if random.integers(8) == 0 else data)
        read, refusal = batches.verdict(lambda: ranking.read(str(path))[0], number)
        shares.count(refusal)
        if refusal is None:
            held = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            assert [row["query_id"] for row in read] == [row["query_id"] for row in held], number
            for row, given in zip(read, held, strict=True):
                for end, sign in (("proponents", -1), ("opponents", 1)):
                    pairs = [(one["id"], one["score"]) for one in given.get(end) or []]
                    found = [(one["id"], one["score"]) for one in row[end]]
                    assert sorted(found) == sorted(pairs), number
                    assert [score for _, score in found] == sorted((s for _, s in found), key=lambda s: sign * s)
    shares.check()


def _lines(random):
    """One to three settings of real names with odd values, as gin writes them."""
    names = [*table.JOBS, *table.PARTS]
    for _ in range(random.integers(1, 4)):
        name = names[random.integers(len(names))]
        fields = [field for field in table.load({**table.JOBS, **table.PARTS}[name]).__dataclass_fields__]
        value = mutations.STRANGE[random.integers(len(mutations.STRANGE))]
        literal = repr(value).replace("inf", "1e999").replace("nan", "1e999 - 1e999")
        yield f"{name}.{fields[random.integers(len(fields))]} = {literal}\n"


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_odd_settings_are_refused_or_stand_in_the_config(seed, count):
    """Law: a config that is built holds the value that was written; a refusal names the setting."""
    shares = batches.Shares()
    for number, random in batches.randoms(seed, count):
        text = "".join(_lines(random))
        if random.integers(8) == 0:
            text = mutations.damaged(text.encode(), random).decode("utf-8", "replace")
        job = list(table.JOBS)[random.integers(len(table.JOBS))]

        def build(text=text, job=job):
            given = list(bindings.parse(text, "odd.gin", lambda name: []))
            return given, settings.build(job, given, table.JOBS, table.PARTS)

        built, refusal = batches.verdict(build, number)
        shares.count(refusal)
        if refusal is None:
            given, config = built
            for one in given:
                if one.name == job:
                    held = getattr(config, one.parameter)
                    assert held == (tuple(one.value) if isinstance(one.value, list) else one.value), number
        else:
            assert "." in refusal.what or "config" in refusal.what, str(refusal)
    shares.check()
