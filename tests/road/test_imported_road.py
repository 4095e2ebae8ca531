"""The road from a foreign model: a folder of transformers in, a judged ranking of every method out."""

import json

import pytest
import transformers

from jax_tda.training import import_checkpoint
from tests.data.tiny_tokenizers import byte_level
from tests.models.importers import tiny, tiny_sentence
from tests.road import walk

METHODS = {"bm25", "bm25_prompt", "gold", "random", "grad_dot", "grad_cosine", "second_moments", "r_train", "trackstar"}
ADDED = """
tail_patch.rate = 1e-3
estimate_second_moments.batches = 4
estimate_second_moments.batch_size = 8
pretrain.log_every = 1
"""
# The last line waits for every step: eight pretended devices on a few cores can otherwise wait for each other for ever.


@pytest.mark.nightly
@pytest.mark.parametrize("way", ["--checkpoint", "--continue_from"])
def test_a_road_from_an_imported_model_ends_with_every_method_judged(road, way, tmp_path):
    """The launch script's own commands, a sentence encoder among the methods: with the model as it was imported, its
    second moments estimated; and trained on, judged over the targets that gained."""
    folder = tmp_path / "model"
    tiny.model("llama grouped tied biased", vocab_size=340, max_position_embeddings=96).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>").save_pretrained(folder)
    config = import_checkpoint.ImportCheckpointConfig(model=str(folder))
    import_checkpoint.run(config, str(tmp_path / "checkpoint"))
    settings = tmp_path / "tiny.gin"
    over = "evaluate.over = 'gained'\n" if way == "--continue_from" else ""
    settings.write_text(road.config.read_text() + ADDED + over)
    sentences = tiny_sentence.folder_of(tmp_path / "sentences")
    options = ("--print", "--config", str(settings), way, str(tmp_path / "checkpoint"), "--embedding", str(sentences))
    for job in walk.jobs(road.command(*options, out=tmp_path / "out").stdout):
        walk.run(*job)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(report["methods"]) == METHODS | {"embedding"}
    assert report["methods"]["trackstar"]["tail_patch_all"] != report["methods"]["grad_dot"]["tail_patch_all"]
    assert ("gained" in report["queries"]) == (way == "--continue_from")
    assert (tmp_path / "out/second_moments").exists() == (way == "--checkpoint")
