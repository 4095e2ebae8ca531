"""The plan as Markdown tables: what a person reads of `plan.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

GIB = 2**30


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of(plan: Mapping[str, Any]) -> str:
    """The whole plan."""
    parts = [_shape(plan), _work(plan), _store(plan)]
    parts += [_memory(name, found) for name, found in plan["topologies"].items() if found["programs"]]
    parts += [_hours(plan), _minutes(plan)]
    return "\n\n".join(parts) + "\n"


def _shape(plan: Mapping[str, Any]) -> str:
    corpus = plan["corpus"]
    return (
        f"{plan['parameters']:,} parameters in kernels and tables; {plan['blocks']} blocks of "
        f"{plan['projected_size']} × {plan['projected_size']}; context {plan['context']:,}. "
        f"{corpus['documents']:,} documents, {corpus['tokens']:.4g} tokens, {corpus['queries']:,} queries."
    )


def _work(plan: Mapping[str, Any]) -> str:
    step = plan["flops_per_example"]["training step"]
    rows = [[name, f"{count:,}", f"{count / step:.3g}"] for name, count in plan["flops_per_example"].items()]
    return "FLOPs per example, counted:\n\n" + table(["", "FLOPs", "of a training step"], rows)


def _store(plan: Mapping[str, Any]) -> str:
    documents = plan["corpus"]["documents"]
    rows = [[name, f"{size:,}", f"{documents * size / 2**40:,.1f}"] for name, size in plan["bytes_per_example"].items()]
    beside = [[name, f"{size / GIB:,.2f}"] for name, size in plan["kept"].items()]
    written = "Bytes written, before compression:\n\n"
    written += table(["format", "bytes per example", "TiB of the corpus"], rows)
    return written + "\n\nHeld beside them while scores are made:\n\n" + table(["", "GiB"], beside)


def _memory(name: str, found: Mapping[str, Any]) -> str:
    columns = ("arguments", "outputs", "temporaries", "aliased", "total")
    rows = []
    for program, memory in found["programs"].items():
        if memory["refused"]:
            rows.append([program, *["–"] * 5, memory["refused"]])
        else:
            share = memory["total"] / found["memory_per_device"]
            rows.append([program, *[f"{memory[c] / GIB:,.2f}" for c in columns], f"{share:.0%}"])
    data, model = found["mesh"]
    cores = f", {found['devices_per_chip']} devices a chip" if found["devices_per_chip"] > 1 else ""
    head = (
        f"{name}: {found['chips']} chips{cores}, a mesh of {data} × {model}, {found['examples_per_batch']:,} examples "
        f"a batch of training and encoding, a curvature update of {found['rows_of_curvature']:,} rows, scores of "
        f"{found['rows_of_score']:,} rows a host. GiB per device, of {found['memory_per_device'] / GIB:.0f}, by the "
        "compiler:"
    )
    return head + "\n\n" + table(["program", *columns[:-1], "sum", "of the memory"], rows)


def _hours(plan: Mapping[str, Any]) -> str:
    found = plan["topologies"]
    rows = []
    for program in next(iter(found.values()))["chip_hours"]:
        rows.append([program, *[_hour(entry, program) for entry in found.values()]])
    share = f"{plan['assumed']['utilisation']:.0%}"
    title = f"Chip-hours for all tokens at {share} of the peak in bfloat16, and days on the slice:"
    return title + "\n\n" + table(["", *found], rows)


def _hour(entry: Mapping[str, Any], program: str) -> str:
    hours = entry["chip_hours"][program]
    return f"{hours:,.0f} ({hours / entry['chips'] / 24:,.1f} d)"


def _minutes(plan: Mapping[str, Any]) -> str:
    found = plan["topologies"]
    columns = [["reading", name] for name in plan["bytes_per_example"]] + [["norms under R", ""], ["scores", ""]]
    rows = []
    for what, form in columns:
        cells = [
            entry["minutes"]["read"][form] if what == "reading" else entry["minutes"][what] for entry in found.values()
        ]
        rows.append([f"{what} {form}".strip(), *[f"{cell:,.1f}" for cell in cells]])
    assumed = plan["assumed"]
    title = (
        f"Minutes for {plan['corpus']['queries']:,} queries against all documents, at {assumed['utilisation']:.0%} of "
        f"the peak, six passes a float32 product, and {assumed['host_bandwidth'] / 1e9:g} GB/s read by each host:"
    )
    return title + "\n\n" + table(["", *found], rows)
