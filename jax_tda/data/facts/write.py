"""prepare_facts: the demo's corpus and queries, facts about countries and elements, as files of JSON lines."""

import dataclasses
from typing import Annotated

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.bounds import Bound
from jax_tda.core.config import settings
from jax_tda.core.declared import declared
from jax_tda.core.quantities import MOST_EXAMPLES, Seed
from jax_tda.data.facts import package_data, world_facts

KIND = "facts"


@dataclasses.dataclass(frozen=True)
@declared("prepare_facts")
class PrepareFactsConfig:
    """Which facts are held out, and among how much prose they stand.

    Args:
      seed: of the held-out templates, of the prose that is drawn and of the order of the passages.
      prose_sentences: how many sentences of prose are added.
    """

    seed: Seed = 0
    prose_sentences: Annotated[int, Bound(0, MOST_EXAMPLES, unit="sentences")] = 1000


def plan(config: PrepareFactsConfig, output: str) -> str:
    """What the job would do."""
    return f"prepare_facts: facts of seed {config.seed} and {config.prose_sentences} sentences of prose → {output}"


@by_first
def run(config: PrepareFactsConfig, output: str) -> Reader:
    """Writes `corpus.jsonl` and `queries.jsonl`, of the forms that `tokenize` reads.

    Raises:
      InputError: a package of the extra `demo` is not installed.
    """
    # The rows are made from these packages alone: another release of one of them is another corpus.
    described = settings(config) | {"packages": package_data.versions()}
    writer = begin(output, KIND, described, {})
    if isinstance(writer, Reader):
        return writer
    made = world_facts.build(config.seed, config.prose_sentences)
    writer.write_lines("corpus.jsonl", made.passages)
    writer.write_lines("queries.jsonl", made.queries)
    facts = {"passages": len(made.passages), "queries": len(made.queries)}
    print(f"prepare_facts: {facts['passages']} passages, {facts['queries']} queries")
    return writer.finish(facts)
