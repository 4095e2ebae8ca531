"""Registers world_facts with seqio, as Tasks `world_facts_passages` and `world_facts_queries` with split `train`.

This is the one module whose import does something: it is what a config names as the module that registers a Task.
"""

import functools
from collections.abc import Callable
from typing import Any

import seqio
import tensorflow as tf

from jax_tda.data.facts import world_facts

# A tensor needs a value where prose, which states no fact, has none.
_ABSENT = {"fact_id": "", "relation": "", "subject": "", "object": "", "wording": -1}
_LISTS = ("gold", "weak")

# Built when a Task is first read, once for both.
_build = functools.cache(world_facts.build)


def _source(rows: Callable[[], list[dict[str, Any]]]) -> seqio.FunctionDataSource:
    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        filled = [{**_ABSENT, **row} for row in rows()]
        columns = {name: [row[name] for row in filled] for name in filled[0]}
        # Columns, because a generator hands over its rows one by one and takes half a minute for it.
        return tf.data.Dataset.from_tensor_slices(
            {
                name: tf.ragged.constant(column, tf.string) if name in _LISTS else tf.constant(column)
                for name, column in columns.items()
            }
        )

    return seqio.FunctionDataSource(dataset, splits=("train",))


def _text_features(*names: str) -> dict[str, seqio.Feature]:
    text = seqio.PassThroughVocabulary(size=0)
    return {name: seqio.Feature(text, add_eos=False, dtype=tf.string, rank=0) for name in names}


seqio.TaskRegistry.add(
    "world_facts_passages",
    source=_source(lambda: _build().passages),
    preprocessors=[],
    output_features=_text_features("text"),
)
seqio.TaskRegistry.add(
    "world_facts_queries",
    source=_source(lambda: _build().queries),
    preprocessors=[],
    output_features=_text_features("prompt", "target"),
)
