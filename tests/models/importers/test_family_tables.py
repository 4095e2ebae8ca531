"""Laws of the gate's tables: they are what the installed transformers defines, and what they call idle is idle."""

import dataclasses
import types
import typing

import numpy as np
import pytest
import torch
import transformers
from transformers import modeling_rope_utils

from jax_tda.models.importers import families, rope
from jax_tda.models.importers.family_fields import ALIASES, GENERATION, TABLES
from tests.models.importers import tiny

CLASSES = {
    "llama": "LlamaConfig",
    "mistral": "MistralConfig",
    "qwen2": "Qwen2Config",
    "qwen3": "Qwen3Config",
    "gemma2": "Gemma2Config",
    "gemma3_text": "Gemma3TextConfig",
    "gpt2": "GPT2Config",
    "gpt_neox": "GPTNeoXConfig",
    "olmo2": "Olmo2Config",
}
CASE = {"gemma3_text": "gemma3", "gpt_neox": "gpt-neox", "llama": "llama multi-head", "mistral": "mistral window",
        "qwen2": "qwen2 tied"}  # fmt: skip
# A value of each type that transformers declares, by which a kind of ours is told from another.
EXAMPLES = {int: 3, float: 0.5, bool: True, str: "text", list: ["text"], dict: {"a": 1}}


def config_class(family):
    return getattr(transformers, CLASSES[family])


def declared(annotation):
    """The plain types of an annotation, and whether it allows None."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    plain = {typing.get_origin(part) or part for part in parts}
    plain = {dict if isinstance(part, type) and issubclass(part, dict) else part for part in plain}
    return plain - {types.NoneType}, types.NoneType in plain


@pytest.mark.parametrize("family", TABLES)
def test_a_table_holds_every_field_of_the_installed_class_with_its_default(family):
    """A field that a new transformers brings, drops or changes turns this red."""
    theirs = {field.name: field for field in dataclasses.fields(config_class(family))}
    ours = {name: field for name, field in TABLES[family].items() if field.own}
    assert ours.keys() == theirs.keys()
    assert {name: field.default for name, field in ours.items()} == {
        name: field.default for name, field in theirs.items()
    }
    assert ALIASES.get(family, {}) == config_class(family).attribute_map


@pytest.mark.parametrize("family", TABLES)
def test_a_field_that_is_read_has_the_type_that_the_class_declares(family):
    """A value of another declared type is refused; null is a value where the class says so."""
    for field in dataclasses.fields(config_class(family)):
        ours = TABLES[family][field.name]
        if ours.idle or isinstance(field.type, str):  # The base's are texts; of them only two are read.
            continue
        plain, null = declared(field.type)
        assert ours.null == null, field.name
        for kind, example in EXAMPLES.items():
            # JSON writes 1 for 1.0, and a scale of scores may be no whole number.
            number = {int, float} if field.name == "query_pre_attn_scalar" or float in plain else plain
            if not ours.only:
                assert ours.allows(example) == (kind in number), (field.name, kind)


def test_the_entries_of_rope_parameters_are_those_of_transformers():
    """As its own dictionary lists them."""
    theirs = set(modeling_rope_utils.RopeParameters.__annotations__)
    assert {name for name, field in rope.ENTRIES.items() if field.own} == theirs
    known = set(modeling_rope_utils.ROPE_INIT_FUNCTIONS) | {"default"}
    assert set(rope.KINDS) < known
    assert known - set(rope.KINDS) == {"dynamic", "longrope", "proportional"}


def test_settings_of_generation_are_those_that_transformers_takes_out():
    """They tell how to sample, and nothing of the model."""
    assert GENERATION.split() == list(transformers.GenerationConfig._get_default_generation_params())


@pytest.mark.parametrize("name", families.ACTIVATIONS)
def test_an_activation_is_the_function_of_its_name(name):
    """On numbers from −6 to 6."""
    import jax

    ours = {"silu": jax.nn.silu, "gelu": lambda x: jax.nn.gelu(x, approximate=False), "gelu_tanh": jax.nn.gelu}
    numbers = np.linspace(-6, 6, 101, dtype=np.float32)
    expected = transformers.activations.ACT2FN[name](torch.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(ours[families.ACTIVATIONS[name]](numbers), expected, atol=2e-6)


OTHER = {int: 7, float: 0.7, bool: True, str: "last", list: ["a"]}


def another(annotation, default):
    plain, _ = declared(annotation)
    if float in plain:
        return OTHER[float]
    for kind, value in OTHER.items():
        if kind in plain:
            return not default if kind is bool else value
    return None


@pytest.mark.parametrize("family", TABLES)
def test_a_field_called_idle_has_no_effect_on_logits(family):
    """The same weights under another value of each such field: the same logits."""
    tokens = np.arange(2, 12)[None]
    original = tiny.model(CASE.get(family, family))
    expected = tiny.logits(original, tokens)
    changes = {}
    for field in dataclasses.fields(config_class(family)):
        if TABLES[family][field.name].idle and not isinstance(field.type, str) and field.name != "initializer_range":
            changes[field.name] = another(field.type, getattr(original.config, field.name))
    changes.pop("summary_activation", None)
    assert {"use_cache", "bos_token_id"} < changes.keys()
    changed = tiny.model(CASE.get(family, family), **changes)
    changed.load_state_dict(original.state_dict())
    for name, value in changes.items():
        assert getattr(changed.config, name) == value
    np.testing.assert_array_equal(tiny.logits(changed, tokens), expected)
