"""The study's texts: who is in the corpus, who is leaked, and where texts lie."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.studies.density import text_space, world

SMALL = {"facts": 300, "prose": 20, "pairs": 8, "copies": (1, 2, 4), "background": 30}


def test_a_pair_is_in_no_passage_until_one_of_it_is_leaked_as_often_as_it_says():
    """Law: the tuning data hold m copies of each leaked fact, verbatim its query's sentence, and none of a control."""
    built = world.build(3, **SMALL)
    by_fact = {row["fact_id"]: row for row in built.queries}
    stated = Counter(row["fact_id"] for row in built.passages if "fact_id" in row)
    leaked = [row for row in built.tuning if not row["id"].startswith("background/")]
    copies = Counter(row["fact_id"] for row in leaked)
    paired = [row for row in built.queries if "pair" in row]
    assert Counter((row["kind"], row["copies"], row["role"]) for row in paired) == {
        (kind, m, role): 8 for kind in world.KINDS for m in (1, 2, 4) for role in ("leaked", "control")
    }
    for row in built.queries:
        assert row["wordings"] == stated[row["fact_id"]] == len(row["gold"])
        assert (row["wordings"] == 0) == ("pair" in row) and row["wordings"] <= 4
    for row in paired:
        assert copies.pop(row["fact_id"], 0) == (row["copies"] if row["role"] == "leaked" else 0)
    assert not copies
    for row in leaked:
        query = by_fact[row["fact_id"]]
        assert (row["text"] == query["sentence"]) == (query["kind"] == "verbatim")
        assert query["object"] in row["text"] and query["subject"] in row["text"]
    relations = Counter((row["pair"], row["relation"]) for row in paired)
    assert set(relations.values()) == {2}


def test_background_is_of_the_corpus_and_all_ids_differ():
    """Law: the tuning data hold nothing new but the leak."""
    built = world.build(3, **SMALL)
    texts = {row["text"] for row in built.passages}
    background = [row for row in built.tuning if row["id"].startswith("background/")]
    assert len(background) == 30 and all(row["text"] in texts for row in background)
    for rows in (built.passages, built.queries, built.tuning):
        assert len({row["id"] for row in rows}) == len(rows)


def test_the_same_seed_builds_the_same_world_and_another_one_another():
    """Law: every draw hangs on the seed alone."""
    assert world.build(3, **SMALL) == world.build(3, **SMALL) != world.build(4, **SMALL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairs": 40}, "not as many facts"),
        ({"pairs": 0}, "not as many facts"),
        ({"copies": (5,)}, "copies"),
        ({"copies": ()}, "copies"),
        ({"copies": (0, 1)}, "copies"),
    ],
)
def test_a_world_that_the_facts_do_not_make_is_refused(change, said):
    """Law: fewer facts than pairs need, or more copies than there are wordings."""
    with pytest.raises(InputError, match=said):
        world.build(0, **(SMALL | change))


def test_a_query_that_stands_in_its_own_corpus_is_refused():
    """Law: its density would count itself, in capitals, with other spaces and stops, and inside a passage too."""
    for passage in ("A capital city. ", "a — capital, city", "Then: A capital city. And more."):
        with pytest.raises(InputError, match="stands in the corpus"):
            text_space.refuse_own(["not this", "a  Capital city."], ["another", passage])
    text_space.refuse_own(
        ["A capital city."], ["A capital", "La capital city.", "a city capital", "A capital cityscape"]
    )
    text_space.refuse_own(["…"], ["A capital city."])


def test_cosines_of_the_text_space_are_those_of_rare_words():
    """Law: up to the projection's 1/√size, the cosine of the weighted counts of words and pairs of words."""
    texts = ["The capital of Mali is Bamako.", "the capital of Chad is N'Djamena", "Gold has the symbol Au.", "capital"]

    def terms(text):
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        return Counter([*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))])

    held = Counter(term for text in texts for term in terms(text))
    held = {term: sum(term in terms(text) for text in texts) for term in held}
    weights = [{t: (1 + math.log(c)) * (1 + math.log(5 / (1 + held[t]))) for t, c in terms(x).items()} for x in texts]
    exact = np.array([[sum(a[t] * b.get(t, 0) for t in a) for b in weights] for a in weights])
    lengths = np.sqrt(np.diag(exact))
    points = text_space.TextSpace(texts, 4096, 0).embed([*texts, "…"])
    np.testing.assert_allclose(points[:4] @ points[:4].T, exact / lengths[:, None] / lengths, atol=5 / 64)
    assert np.linalg.norm(points[0]) == pytest.approx(1) and not points[4].any()


def test_overlap_is_the_greatest_share_of_pairs_of_words_in_one_passage():
    """Law: by hand; a text of one word has no pair."""
    corpus = ["the capital of Mali is Bamako", "the river of Chad is dry", "of Chad"]
    found = text_space.overlap(["the capital of Chad is", "is Bamako", "alone", "never seen"], corpus)
    np.testing.assert_allclose(found, [2 / 4, 1, 0, 0])
