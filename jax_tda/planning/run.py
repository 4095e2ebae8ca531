"""plan: from a config to bytes per device, FLOPs and storage, chip-hours and minutes, without a device of the kind."""

import dataclasses
from typing import Annotated, Any, Literal, get_args

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.attribution.run import ScoreConfig
from jax_tda.core import mesh as meshes
from jax_tda.core.bounds import Bound, Items, Text
from jax_tda.core.config import settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MODEL, MeshConfig
from jax_tda.core.progress import track
from jax_tda.core.quantities import Documents, ExamplesAtOnce, Fraction, Queries
from jax_tda.data.tokenize import TokenizeConfig
from jax_tda.encoding.run import EncodeConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.own_model import demand_none
from jax_tda.planning import chips, compiler, costs, flops, programs, tables
from jax_tda.training.optimizers import OptimizerConfig

KIND = "plan"
Program = Literal["training step", "encode, rank one", "encode, exact", "curvature", "score"]
PROGRAMS: tuple[Program, ...] = get_args(Program)
Topology = Annotated[str, Text(r"\w+:\d{1,4}(x\d{1,4}){0,2}", "like 'v5e:16x16'")]


@dataclasses.dataclass(frozen=True)
@declared("plan")
class PlanConfig:
    """What is planned: a model, a corpus, slices of TPUs, and the rates that are assumed.

    Args:
      topologies: slices, as libtpu names them.
      programs: what is compiled for each, of "training step", "encode, rank one", "encode, exact", "curvature" and
        "score"; empty for what can be counted without a compiler.
      examples_per_group: examples of a batch, of training and of encoding, in each data group.
      documents: of the corpus.
      tokens: of the corpus.
      queries: how many the corpus is scored for.
      utilisation: the share of the chips' peak rate that is reached.
      host_bandwidth: bytes per second that each host reads from the store.
      decoder: the model.
      optimizer: of the training step.
      tokenize: its context is every example's length.
      encode: projected size, blocks and format.
      score: how many of each end are kept.
      mesh: how the devices of a slice share the work.
    """

    topologies: Annotated[tuple[Topology, ...], Items(1, 64, different=True)] = (
        "v5e:16x16",
        "v4:4x4x4",
        "v5p:4x4x8",
        "v6e:16x16",
    )
    programs: Annotated[tuple[Program, ...], Items(different=True)] = PROGRAMS
    examples_per_group: ExamplesAtOnce = 4
    documents: Documents = 364_868_892
    tokens: Annotated[float, Bound(above=0, at_most=1e18, unit="tokens")] = 160e9
    queries: Queries = 5000
    utilisation: Fraction = 0.4
    host_bandwidth: Annotated[float, Bound(above=0, at_most=1e15, unit="bytes per second")] = 1e9
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    tokenize: TokenizeConfig = dataclasses.field(default_factory=TokenizeConfig)
    encode: EncodeConfig = dataclasses.field(default_factory=EncodeConfig)
    score: ScoreConfig = dataclasses.field(default_factory=ScoreConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

    @property
    def encoded_decoder(self) -> DecoderConfig:
        """The model as the encoder runs it, which may compute layers twice where training does not."""
        remat = self.decoder.remat if self.encode.remat is None else self.encode.remat
        return dataclasses.replace(self.decoder, remat=remat)

    @property
    def blocks(self) -> int:
        """B, as the encoder would lay them out."""
        return flops.blocks(self.decoder, self.encode.blocks)


def plan(config: PlanConfig, output: str) -> str:
    """What the job would do."""
    return f"plan: {', '.join(config.programs) or 'nothing'} compiled for {', '.join(config.topologies)} → {output}"


@by_first
def run(config: PlanConfig, output: str) -> Reader:
    """Writes `plan.json` and the tables `plan.md`, and prints these; a killed run goes on after the last program."""
    slices = [chips.topology(name) for name in config.topologies]
    compiler.without_a_chip()
    if config.programs:
        for one in slices:
            compiler.devices(one)  # So that what is missing is said before anything is written.
    # How the encoder uses a machine is no setting of an encoding, but it is one of a plan.
    steering = {name: getattr(config.encode, name) for name in ("remat", "examples_at_once", "unroll_layers")}
    writer = begin(output, KIND, settings(config) | {"encoder": steering}, {})
    if isinstance(writer, Reader):
        return writer
    made = counted(config)
    made["topologies"] = {one.name: _sliced(config, one, made) for one in slices}
    memories = _compiled(writer, config, slices)
    for name, found in memories.items():
        made["topologies"][name] |= found
    text = tables.of(made)
    print(text)
    writer.write_json("plan.json", made)
    writer.write_bytes("plan.md", text.encode())
    return writer.finish({"topologies": list(config.topologies), "programs": list(config.programs)})


def counted(config: PlanConfig) -> dict[str, Any]:
    """What follows from shapes alone: parameters, FLOPs and bytes per example."""
    demand_none("plan", config.encode.own_model)
    length, p, blocks = config.tokenize.context, config.encode.projected_size, config.blocks
    formats = {costs.name_of(store): store for store in (*costs.FORMATS, config.encode.store)}
    return {
        "parameters": flops.parameters(config.decoder),
        "context": length,
        "blocks": blocks,
        "projected_size": p,
        "corpus": {"documents": config.documents, "tokens": config.tokens, "queries": config.queries},
        "assumed": {"utilisation": config.utilisation, "host_bandwidth": config.host_bandwidth},
        "flops_per_example": dict(flops.per_example(config.decoder, config.encoded_decoder, length, p, blocks)),
        "bytes_per_example": {
            name: costs.bytes_per_example(store, blocks, p) for name, store in formats.items() if 2 * store.rank < p
        },
        "kept": costs.kept(config.documents, config.queries, config.score.top_k, blocks, p * p),
    }


def _sliced(config: PlanConfig, one: chips.Topology, made: dict[str, Any]) -> dict[str, Any]:
    """Hours and minutes on one slice."""
    work = made["flops_per_example"]
    minutes: dict[str, Any] = {"read": {}}
    for name, size in made["bytes_per_example"].items():
        found = costs.minutes_to_score(
            work, size, config.documents, config.queries, one, config.utilisation, config.host_bandwidth
        )
        minutes["read"][name] = found.pop("read")
        minutes |= found
    hours = costs.corpus_hours(work, config.tokenize.context, config.tokens, one, config.utilisation)
    return {"chips": one.chips, "hosts": one.hosts, "chip_hours": hours, "minutes": minutes, "programs": {}}


def _compiled(writer: Writer, config: PlanConfig, slices: list[chips.Topology]) -> dict[str, Any]:
    """For each slice its mesh and what the compiler says of each program."""
    if not config.programs:
        return {}
    finished, memories = writer.finished_units(), dict[str, Any]()
    work = [(one, name) for one in slices for name in config.programs]
    for one, name in track(work, "plan", len(work), "programs"):
        devices = compiler.devices(one)
        mesh = meshes.make_mesh(config.mesh, devices=devices)
        # As many as there are in hand when every host has read a shard.
        rows = config.encode.shard_rows * one.hosts
        unit = f"{one.name}.{name}".replace(":", "_").replace(", ", "_").replace(" ", "_")
        if unit not in finished:
            lowering = programs.of(config, mesh, compiler.devices(one.host), rows)
            finished[unit] = dataclasses.asdict(compiler.compiled(lowering[name]))
            writer.finish_unit(unit, finished[unit])
        per_chip = len(devices) // one.chips
        found = memories.setdefault(
            one.name,
            {
                "mesh": [mesh.size // mesh.shape[MODEL], mesh.shape[MODEL]],
                "devices_per_chip": per_chip,
                "memory_per_device": one.chip.memory // per_chip,
                "examples_per_batch": config.examples_per_group * mesh.size // mesh.shape[MODEL],
                "rows_of_curvature": rows,
                "rows_of_score": config.encode.shard_rows,
                "programs": {},
            },
        )
        memory = compiler.Memory(**finished[unit])
        found["programs"][name] = dataclasses.asdict(memory) | {"total": memory.total}
    return memories
