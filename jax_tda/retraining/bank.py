"""bank: what the model would have been without some documents, by training it again and again without them."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import jax
import numpy as np

from jax_tda.artifacts import lineage, ranking
from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.core import processes
from jax_tda.core.bounds import Bound, Items
from jax_tda.core.config import complete_part, input_path, machine, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import MOST_AT_ONCE, Documents, Name, Path, Seed
from jax_tda.data import corpus as corpora
from jax_tda.models import checkpoint_artifact
from jax_tda.models.decoder import Decoder
from jax_tda.models.own_model import demand_none
from jax_tda.retraining import subsets
from jax_tda.retraining.bank_reader import DOCUMENTS, KEPT, KIND, MEMBERS, QUERIES
from jax_tda.retraining.bank_training import Trainer, parameters_of
from jax_tda.retraining.bank_work import Work
from jax_tda.retraining.subsets import Member
from jax_tda.training.run import PretrainConfig

Count = Annotated[int, Bound(0, MOST_AT_ONCE, unit="members")]


@dataclasses.dataclass(frozen=True)
@declared("bank")
class BankConfig:
    """Which members are trained; a member of full data under the recipe's own seed is always the first.

    Args:
      pretrain: the recipe: every member is trained as `pretrain` would train, in the same order and from the same seed.
      queries: the tokenized queries that every member is asked.
      rankings: a directory of rankings, or one `.jsonl` file: what `remove` takes a query's first documents from.
      methods: which of these rankings; empty for all.
      half: members that keep a random half of the documents.
      drop: members that leave out a random share of the documents.
      drop_share: that share.
      remove: queries for each of which, by each ranking, the first documents are left out.
      remove_first: how many of them, a member for each number.
      controls: for each of these numbers, members that leave out as many documents drawn blindly.
      loo: members that leave out one document.
      repeats: members of full data under the seeds that follow the recipe's.
      reseeded: members of `half` and `drop`, of each the first so many, that are trained again under the next seed.
      seed: of what is left out.
      keep_models: whether every member's parameters are kept too.
      members_at_once: members that each device trains in one program; 0 for what suits the device.
    """

    pretrain: PretrainConfig = complete_part(PretrainConfig)
    queries: Path = input_path(required=True)
    rankings: Path = input_path()
    methods: Annotated[tuple[Name, ...], Items(different=True)] = ()
    half: Count = 100
    drop: Count = 0
    drop_share: Annotated[float, Bound(above=0, below=1)] = 0.01
    remove: Annotated[int, Bound(0, MOST_AT_ONCE, unit="queries")] = 0
    remove_first: Annotated[tuple[Documents, ...], Items(1, 100, different=True)] = (10, 30, 100)
    controls: Count = 5
    loo: Count = 0
    repeats: Count = 3
    reseeded: Count = 0
    seed: Seed = 0
    keep_models: bool = False
    members_at_once: Annotated[int, Bound(0, 4096, unit="members")] = machine(0)

    def __post_init__(self) -> None:
        whole = self.pretrain.mesh.model == 1 and self.pretrain.mesh.weights != "sharded"
        demand(
            self.pretrain, whole, "mesh", "mesh.model = 1 and whole weights, as each device trains members of its own"
        )
        given = not self.remove or self.controls > 0
        demand(self, given, "controls", "at least 1 where bank.remove is set: a removal is compared with blind ones")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """All that a bank is made of, opened and checked."""

    config: BankConfig
    corpus: corpora.Corpus
    queries: corpora.Corpus
    documents: subsets.Documents
    members: list[Member]
    model: Decoder
    inputs: dict[str, Reader]
    settings: dict[str, Any]


def _open(config: BankConfig) -> _Asked:
    recipe = config.pretrain
    demand_none("bank", recipe.own_model)
    corpus, queries = corpora.open_corpus(recipe.corpus), corpora.open_corpus(config.queries)
    inputs = {"corpus": corpus.reader, "queries": queries.reader}
    _check_vocabulary(corpus, queries)
    decoder = dataclasses.replace(recipe.decoder, vocabulary_size=corpus.reader.manifest.facts["vocabulary_size"])
    if recipe.initial:
        initial = checkpoint_artifact.open_checkpoint(recipe.initial)
        checkpoint_artifact.check_fits(initial.reader, corpus.reader)
        decoder, inputs["initial"] = initial.decoder.config, initial.reader
    rankings: dict[str, Sequence[Mapping[str, Any]]] = {}
    foreign: dict[str, str] = {}
    if config.remove:
        rankings, readers, foreign = _rankings(config)
        for name, reader in readers.items():
            lineage.check_made_of(f"the ranking {name}", reader, {n: inputs[n] for n in ("corpus", "queries")})
        inputs |= {f"ranking_{name}": reader for name, reader in readers.items()}
    documents = subsets.Documents(corpus)
    members = _members(config, documents, list(queries.ids), rankings)
    subsets.check(members, documents, corpus)
    described = dataclasses.replace(config, pretrain=dataclasses.replace(recipe, decoder=decoder))
    said = settings(described) | ({"foreign_rankings": foreign} if foreign else {})
    return _Asked(config, corpus, queries, documents, members, Decoder(decoder), inputs, said)


def _check_vocabulary(corpus: corpora.Corpus, queries: corpora.Corpus) -> None:
    ours, theirs = (made.reader.manifest.facts["vocabulary"] for made in (queries, corpus))
    if ours != theirs:
        raise InputError(
            f"the queries {queries.reader} do not fit the corpus {corpus.reader}: vocabulary",
            got=ours[:12],
            expected=theirs[:12],
            remedy="tokenize both with one vocabulary",
        )


def _rankings(config: BankConfig) -> tuple[dict[str, Any], dict[str, Reader], dict[str, str]]:
    demand(config, bool(config.rankings), "rankings", "the path of rankings, where bank.remove is set")
    rows, readers, foreign = ranking.read_all(config.rankings)
    chosen = config.methods or tuple(sorted(rows))
    unknown = sorted(set(chosen) - set(rows))
    demand(config, not unknown, "methods", f"rankings at {config.rankings}: {', '.join(sorted(rows))}")

    def pick(table: Mapping[str, Any]) -> dict[str, Any]:
        return {name: table[name] for name in chosen if name in table}

    return pick(rows), pick(readers), pick(foreign)


def _members(
    config: BankConfig,
    documents: subsets.Documents,
    queries: Sequence[str],
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Member]:
    seed, root, count = config.pretrain.seed, config.seed, len(documents)
    none = np.zeros(0, np.int64)
    members = [Member("full", seed, none)]
    members += [Member("half", seed, left_out) for left_out in subsets.halves(config.half, count, root)]
    members += [
        Member("drop", seed, left_out) for left_out in subsets.drops(config.drop, config.drop_share, count, root)
    ]
    drawn = {kind: [n for n, member in enumerate(members) if member.kind == kind] for kind in ("half", "drop")}
    if config.remove:
        firsts = [k for k in config.remove_first if k < count]
        demand(config, len(firsts) == len(config.remove_first), "remove_first", f"less than the {count} documents")
        asked = subsets.sampled_queries(queries, config.remove, root)
        members += subsets.removals(documents, rankings, asked, firsts, seed)
        members += [
            Member("control", seed, left_out, {"k": k})
            for k in firsts
            for left_out in subsets.controls(config.controls, k, count, root)
        ]
    members += [
        Member("loo", seed, np.array([number]), {"document": documents.names[number]})
        for number in (subsets.singles(config.loo, count, root) if config.loo else ())
    ]
    members += [Member("repeat", seed + 1 + number, none) for number in range(config.repeats)]
    again = [number for numbers in drawn.values() for number in numbers[: config.reseeded]]
    members += [Member("reseeded", seed + 1, members[n].left_out, {"member": n}) for n in again]
    return members


def plan(config: BankConfig, output: str) -> str:
    """What the job would do: members of each kind, FLOPs, bytes."""
    if not (config.pretrain.corpus and config.queries):
        return f"bank: models of {config.pretrain.corpus or '-'} asked {config.queries or '-'} → {output}"
    return _sheet(_open(config), output)


def _sheet(asked: _Asked, output: str) -> str:
    config, count = asked.config, len(asked.members)
    kinds = Counter(member.kind for member in asked.members)
    shapes = jax.eval_shape(lambda: asked.model.init(jax.random.key(0), np.zeros((1, 2), np.int32)))
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    recipe = config.pretrain
    flops = 6 * size * recipe.tokens_per_batch * recipe.steps
    stored = count * (5 * asked.queries.count + -(-len(asked.documents) // 8)) + 4 * size * count * config.keep_models
    return (
        f"bank: {count:,} members ({', '.join(f'{n:,} {kind}' for kind, n in kinds.items())}) → {output}\n"
        f"  {recipe.steps:,} steps of {recipe.tokens_per_batch:,} tokens each, {size:,} parameters: about "
        f"{flops * count:.2g} FLOPs, {flops:.2g} a member\n"
        f"  {len(asked.documents):,} documents, {asked.queries.count:,} queries: {stored / 2**20:,.1f} MiB"
        f"{', every model among them' if config.keep_models else '; no model is kept'}"
    )


def run(config: BankConfig, output: str) -> Reader:
    """Writes the bank: `log_probabilities` and `exact` [members, queries], `kept` bits, `members.jsonl`.

    Members are trained in groups that are the same however often the run was stopped; a killed run trains again the
    groups of which not every member was written.

    Raises:
      InputError: a subset leaves nothing, inputs do not fit each other, or a member diverged.
    """
    asked = _open(config)
    writer = begin(output, KIND, asked.settings, asked.inputs)
    if isinstance(writer, Reader):
        return writer
    initial = None
    if config.pretrain.initial:
        initial = checkpoint_artifact.open_checkpoint(config.pretrain.initial).params
    trainer = Trainer(
        asked.model,
        config.pretrain,
        asked.corpus,
        asked.documents.of_row,
        initial,
        config.members_at_once,
    )
    work = Work(writer, trainer, asked.members, asked.queries, len(asked.documents), config.keep_models)
    work.through(_sheet(asked, output))
    kept = writer.array(KEPT, (len(asked.members), -(-len(asked.documents) // 8)), "int8", len(asked.members))
    if processes.index() == 0:
        kept.write_shard(0, subsets.packed(asked.members, len(asked.documents)))
    writer.write_lines(MEMBERS, (member.described() for member in asked.members))
    writer.write_lines(DOCUMENTS, ({"id": name} for name in asked.documents.names))
    writer.write_lines(QUERIES, ({"id": name} for name in asked.queries.ids))
    return writer.finish(
        {
            "members": len(asked.members),
            "kinds": dict(Counter(member.kind for member in asked.members)),
            "documents": len(asked.documents),
            "queries": asked.queries.count,
            "parameters": parameters_of(trainer.shapes),
        }
    )
