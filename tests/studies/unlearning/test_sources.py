"""The made sources differ in what they teach, share their words, and never state a query."""

import pytest

from jax_tda.studies.unlearning import sources

MADE = sources.make(0, places=6, animals=6)


def texts(name: str, seed: int = 0) -> list[str]:
    return [row["text"] for row in sources.documents(MADE[name], 40, 45, seed, "corpus")]


@pytest.mark.parametrize("name", sources.NAMES)
def test_no_document_states_what_a_query_asks(name):
    """Law: the words of prompt and target stand in no sentence of any document, though its target's words do."""
    said = " ".join(texts(name))
    for row in sources.queries(MADE[name], 1000, 0):
        assert row["prompt"] + row["target"] + " ." not in said
        assert row["prompt"] + row["target"] not in MADE[name].sentences
        assert row["target"].startswith(" ") and not row["prompt"].endswith(" ")


def test_atlas_and_quiz_state_the_same_facts_in_other_words():
    """Law: both have a question about every fact, with the same targets, and no sentence in common."""
    targets = [sorted(target for _, target in MADE[name].questions) for name in ("atlas", "quiz")]
    assert targets[0] == targets[1] and len(targets[0]) == 24
    assert not set(MADE["atlas"].sentences) & set(MADE["quiz"].sentences)


def test_the_same_seed_gives_the_same_documents_and_another_gives_others():
    """Law: everything drawn hangs on the seed and the names of what is drawn; a document is of bounded length."""
    assert texts("echo") == texts("echo") != texts("echo", seed=1)
    pool = [row["text"] for row in sources.documents(MADE["echo"], 40, 45, 0, "pool")]
    assert not set(pool) & set(texts("echo"))
    assert max(len(text.split()) for name in sources.NAMES for text in texts(name)) <= 45


def test_a_mirror_turns_letters_and_numbers_are_added_and_compared():
    """Law: every sentence of a rule is true."""
    for prompt, target in MADE["mirror"].questions:
        letters = prompt.split()[1:4]
        assert target.split() == letters[::-1]
    values = {word: value for value, word in enumerate(sources.NUMBERS)}
    for name, rule in (("sums", lambda a, b: a + b), ("order", max)):
        for prompt, target in MADE[name].questions:
            one, other = (values[word] for word in prompt.split() if word in values)
            assert values[target.strip()] == rule(one, other)
