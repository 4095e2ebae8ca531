"""JSON nested 100,000 deep, in every JSON that is not ours to trust: a refusal in four parts, and no RecursionError."""

import json
import shutil
import struct

import pytest
import transformers

from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.core.errors import InputError
from jax_tda.data import foreign_vocabulary, probed_passages
from jax_tda.encoding.embed import tokenizer_of
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from jax_tda.models.importers.sentence_folder import SentenceFolder
from tests.data.tiny_tokenizers import byte_level
from tests.models.importers import tiny, tiny_sentence

DEPTH = 100_000
DEEP = {"lists": "[" * DEPTH + "]" * DEPTH, "objects": '{"a":' * DEPTH + "1" + "}" * DEPTH, "open": "[" * DEPTH}
HOW = ["objects", *(pytest.param(how, marks=pytest.mark.nightly) for how in ("lists", "open"))]
MODEL = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
         "model.safetensors.index.json")  # fmt: skip
SENTENCES = ("config.json", "modules.json", "Pooling/config.json", "sentence_bert_config.json", "tokenizer.json",
             "tokenizer_config.json", "config_sentence_transformers.json")  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A foreign model and a sentence encoder."""
    place = tmp_path_factory.mktemp("folders")
    made = tiny.model("llama grouped tied biased", vocab_size=340)
    made.save_pretrained(place / "model")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>")
    tokenizer.save_pretrained(place / "model")
    (place / "sentences").mkdir()
    tiny_sentence.folder_of(place / "sentences")
    return place


def open_model(folder):
    assemble.check(open_source(str(folder)))
    return foreign_vocabulary.read(str(folder), "", "", 340)


def open_sentences(folder):
    return tokenizer_of(SentenceFolder(str(folder)))


def expect_refusal(attempt):
    with pytest.raises(InputError) as refused:
        attempt()
    said = refused.value
    assert all(str(part).strip() for part in (said.what, said.got, said.expected, said.remedy))
    assert len(str(said)) < 4000


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("kind", "name"), [*(("model", name) for name in MODEL), *(("sentences", name) for name in SENTENCES)]
)
def test_a_deep_file_of_a_foreign_folder_is_refused(folders, tmp_path, kind, name, how):
    """Law: alone, and as the value of a key that the file may have."""
    folder = shutil.copytree(folders / kind, tmp_path / "folder")
    if "index" in name:
        (folder / "model.safetensors").unlink()
    for text in (DEEP[how], '{"x": ' + DEEP[how] + "}"):
        (folder / name).write_text(text)
        expect_refusal(lambda: (open_model if kind == "model" else open_sentences)(folder))


@pytest.mark.parametrize("how", HOW)
def test_a_deep_header_of_tensors_is_refused(folders, tmp_path, how):
    """Law: whatever reads the header first."""
    folder = shutil.copytree(folders / "model", tmp_path / "folder")
    header = ('{"x": ' + DEEP[how] + "}").encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    expect_refusal(lambda: open_model(folder))


@pytest.mark.parametrize("how", HOW)
def test_a_deep_file_of_probes_and_a_deep_manifest_are_refused(tmp_path, how):
    """Law: files that we write ourselves may have been edited too."""
    (tmp_path / "probes.json").write_text(DEEP[how])
    config = probed_passages.PrepareProbesConfig(source=str(tmp_path / "probes.json"))
    expect_refusal(lambda: probed_passages.run(config, str(tmp_path / "out")))
    writer = begin(str(tmp_path / "thing"), "thing", {}, {})
    writer.write_lines("rows.jsonl", [{"n": 1}])
    writer.finish({})
    path = tmp_path / "thing/manifest.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"run": "HERE"}).replace('"HERE"', DEEP[how]))
    expect_refusal(lambda: open_artifact(str(tmp_path / "thing"), "thing"))
