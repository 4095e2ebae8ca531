"""The road from a foreign model: a folder of transformers in, a judged ranking of every method out."""

import json

import pytest
import transformers

from jax_tda.training import import_checkpoint
from tests.data.tiny_tokenizers import byte_level
from tests.models.importers import tiny
from tests.road import walk

METHODS = {"bm25", "bm25_prompt", "gold", "random", "grad_dot", "grad_cosine", "second_moments", "r_train", "trackstar"}


@pytest.mark.nightly
def test_a_road_from_an_imported_model_ends_with_every_method_judged(road, tmp_path):
    """The launch script's own commands; tail-patch by the estimated second moments, at a rate that the config gives."""
    folder = tmp_path / "model"
    tiny.model("llama grouped tied biased", vocab_size=340, max_position_embeddings=96).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>").save_pretrained(folder)
    config = import_checkpoint.ImportCheckpointConfig(model=str(folder))
    import_checkpoint.run(config, str(tmp_path / "checkpoint"))
    settings = tmp_path / "tiny.gin"
    added = "tail_patch.rate = 1e-3\nestimate_second_moments.batches = 4\nestimate_second_moments.batch_size = 8\n"
    settings.write_text(road.config.read_text() + added)
    options = ("--print", "--config", str(settings), "--checkpoint", str(tmp_path / "checkpoint"))
    for job in walk.jobs(road.command(*options, out=tmp_path / "out").stdout):
        walk.run(*job)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(report["methods"]) == METHODS
    assert report["methods"]["trackstar"]["tail_patch_all"] != report["methods"]["grad_dot"]["tail_patch_all"]
