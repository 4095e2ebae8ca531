"""Laws of the embedded corpus, checked on the whole of it by plain scans."""

import re
from collections import Counter

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import records, vocabulary
from jax_tda.data.facts import package_data, relations, world_facts
from jax_tda.data.split import pieces


@pytest.fixture(scope="module")
def corpus():
    return world_facts.build()


def prose(corpus):
    return [row for row in corpus.passages if row["source"] == "factbook"]


def test_the_corpus_is_as_large_as_promised(corpus):
    """At least 1,500 facts over twelve relations, 3,000 passages, a thousand of them prose."""
    assert len(corpus.facts) == len(corpus.queries) >= 1500
    assert {fact.relation for fact in corpus.facts} == set(relations.WORDINGS)
    assert len(relations.WORDINGS) == 12
    assert len(corpus.passages) == 4 * len(corpus.facts) + 1000 >= 3000
    assert len(prose(corpus)) == 1000


def test_two_builds_are_equal_and_another_seed_holds_out_other_wordings(corpus):
    """Rows and their order depend on the seed and the packages alone."""
    again, other = world_facts.build(seed=0), world_facts.build(seed=1)
    assert (again.passages, again.queries) == (corpus.passages, corpus.queries)
    assert [fact.id for fact in other.facts] == [fact.id for fact in corpus.facts]
    changed = sum(a.held_out != b.held_out for a, b in zip(corpus.facts, other.facts, strict=True))
    assert 0.7 < changed / len(corpus.facts) < 0.9
    assert {row["id"] for row in prose(other)} != {row["id"] for row in prose(corpus)}


def test_every_row_is_a_record_with_an_id_of_its_own(corpus):
    """The rows are the pinned JSON forms; no id could be taken for a split document's piece."""
    for kind, rows in (("passages", corpus.passages), ("queries", corpus.queries)):
        read = [records.parse(row, kind, "row") for row in rows]
        assert len({record.id for record in read}) == len(rows)
        assert not any("#" in record.id for record in read)


def test_no_passage_holds_the_wording_that_a_query_asks_in(corpus):
    """A plain search of every prompt in the whole corpus finds nothing."""
    everything = "\n".join(row["text"] for row in corpus.passages)
    assert [query["prompt"] for query in corpus.queries if query["prompt"] in everything] == []


def test_each_fact_is_stated_in_the_other_four_wordings(corpus):
    """Gold are four passages of different wordings that hold subject and object and end in the query's target."""
    text = {row["id"]: row["text"] for row in corpus.passages}
    for query in corpus.queries:
        stated = [text[name] for name in query["gold"]]
        assert len(set(stated)) == len(query["gold"]) == 4
        assert all(query["subject"] in sentence for sentence in stated)
        assert all(
            (sentence + ".").replace("..", ".").endswith(query["target"].rstrip(".") + ".") for sentence in stated
        )
        assert query["prompt"] + query["target"] not in [sentence.rstrip(".") for sentence in stated]
        assert query["target"].startswith(" ")
        assert query["prompt"] == query["prompt"].strip()


def test_the_held_out_wording_varies_within_every_relation(corpus):
    """No wording of a relation is left untrained or always trained."""
    held_out = Counter((fact.relation, fact.held_out) for fact in corpus.facts)
    assert len(held_out) == 12 * 5
    sizes = Counter(fact.relation for fact in corpus.facts)
    assert all(0.05 < count / sizes[relation] < 0.4 for (relation, _), count in held_out.items())


def test_weak_is_the_prose_that_holds_subject_and_object_as_whole_words(corpus):
    """A scan of all prose by splitting it into words finds the same flags."""

    def padded(text):
        return " " + " ".join(re.findall(r"\w+|[^\w\s]", text)) + " "

    sentences = [(row["id"], padded(row["text"])) for row in prose(corpus)]
    flagged = 0
    for query in corpus.queries:
        words = padded(query["subject"]), padded(query["object"])
        expected = [name for name, text in sentences if all(part in text for part in words)]
        assert sorted(query["weak"]) == sorted(expected), query["id"]
        flagged += bool(expected)
    assert flagged >= 20


def test_every_fact_has_distractors_of_its_subject_and_its_relation_and_many_of_its_object(corpus):
    """Other facts share the subject and the relation always, the object for several hundred."""
    for share in ("subject", "relation"):
        counts = Counter(getattr(fact, share) for fact in corpus.facts)
        assert min(counts.values()) > 1
    objects = Counter(fact.object for fact in corpus.facts)
    assert sum(objects[fact.object] > 1 for fact in corpus.facts) > 500


def test_a_fact_has_one_object_and_its_subject_does_not_name_it(corpus):
    """No two facts give one subject two objects under one relation, and none answers itself."""
    assert len({(fact.subject, fact.relation) for fact in corpus.facts}) == len(corpus.facts)
    assert not [fact.id for fact in corpus.facts if f" {fact.object} " in f" {fact.subject} "]


def test_some_facts_are_the_known_ones(corpus):
    """Spot checks by general knowledge."""
    known = {(fact.relation, fact.subject): fact.object for fact in corpus.facts}
    assert known["capital", "Mongolia"] == "Ulaanbaatar"
    assert known["calling_code", "Mongolia"] == "+976"
    assert known["currency", "Japan"] == "JPY"
    assert known["symbol", "iron"] == "Fe"
    assert known["atomic_number", "gold"] == "79"
    assert known["family", "neon"] == "noble gases"
    assert ("capital", "Singapore") not in known


def test_prose_is_clean_text(corpus):
    """No tags, no entities, no stray spaces, and short."""
    for row in prose(corpus):
        assert not re.search(r"<|>|&\w+;|\s\s|\n", row["text"]), row
        assert len(row["text"]) <= 120
        assert row["text"].endswith(".")


def test_a_querys_target_has_the_ids_that_its_gold_passages_train(corpus):
    """With a vocabulary trained on the corpus, the target's tokens stand as they are in each gold passage."""
    vocab = vocabulary.SentencePieceVocabulary(
        vocabulary.train_sentencepiece((row["text"] for row in corpus.passages), 2048)
    )
    assert vocab.size == 2048
    ids = {row["id"]: vocab.encode(row["text"]) for row in corpus.passages if row["source"] == "facts"}
    for row in corpus.queries:
        (query,) = pieces(records.parse(row, "queries", "row"), vocab, 64, "refuse")
        target = list(query.tokens[query.loss_start :])
        assert vocab.decode(target) == row["object"]
        for name in row["gold"]:
            tail = ids[name][-len(target) - 1 :]
            assert target in (tail[1:], tail[:-1]), name


def test_a_missing_package_is_named():
    """The error says what to install."""
    with pytest.raises(InputError, match=r"no-such-package.*\n.*\n.*jax_tda\[demo\]"):
        package_data.directory("no_such_package", "no-such-package")
