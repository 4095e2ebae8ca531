"""What a bank says of rankings and dense scores: LDS, leave one out, removal, flips, and the ceiling of other seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.artifacts import lineage
from jax_tda.artifacts.artifact import Reader
from jax_tda.artifacts.dense_scores import DenseScores
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import Corpus
from jax_tda.evaluation import counterfactual
from jax_tda.evaluation.by_document import ByDocument
from jax_tda.retraining.bank_reader import Bank
from jax_tda.retraining.subsets import Documents

# Correlations over fewer members say nothing.
FEWEST_MEMBERS = 3
Table = dict[str, float | None]
Mean = Callable[[Sequence[float | None]], dict[str, Any]]


def check_belongs(bank: Reader, judged_with: Mapping[str, Reader]) -> None:
    """Refuses a bank of another corpus, other queries or another recipe than the checkpoint's.

    Raises:
      InputError: naming what differs.
    """
    for name in ("corpus", "queries"):
        ours, theirs = bank.manifest.inputs[name]["digest"], judged_with[name].manifest.digest
        if ours != theirs:
            raise _stranger(bank, f"of another {name}", ours[:12], f"{theirs[:12]}, the digest of {judged_with[name]}")
    if "checkpoint" not in judged_with:
        return
    made = judged_with["checkpoint"].manifest
    bank_recipe = _recipe(bank.manifest.settings["pretrain"], bank)
    recipe = _recipe(made.settings, judged_with["checkpoint"])
    names = sorted(name for name in bank_recipe | recipe if bank_recipe.get(name, "-") != recipe.get(name, "-"))[:5]
    if names:
        got, expected = ("; ".join(f"{n}: {one.get(n, '-')}" for n in names) for one in (bank_recipe, recipe))
        raise _stranger(bank, "of another recipe than the checkpoint", got, expected)


def _recipe(settings: Mapping[str, Any], made: Reader) -> dict[str, Any]:
    """Settings by their full names, `optimizer.peak_rate`, and what training began from."""
    return _flat(settings) | {"initial": made.manifest.inputs.get("initial", {"digest": "none"})["digest"]}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _stranger(bank: Reader, what: str, got: str, expected: str) -> InputError:
    return InputError(
        f"the bank {bank} is {what}",
        got=got,
        expected=expected,
        remedy="train a bank with this corpus, these queries and the checkpoint's own settings",
    )


def judge(
    bank: Bank,
    corpus: Corpus,
    queries: Corpus,
    dense: Mapping[str, DenseScores],
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, dict[str, Table]]:
    """{method: {metric: {query id: value}}}: `lds_half`, `lds_drop` and `loo` of dense scores, `qld` of removals.

    A ranking that lists every document has dense scores too.

    Raises:
      InputError: scores are not of this corpus and these queries.
    """
    documents = Documents(corpus)
    found: dict[str, dict[str, Table]] = {}
    for name, scores in dense.items():
        ordered = ByDocument(name, scores, corpus, queries, bank.documents)
        found[name] = _correlations(bank, ordered)
        if ordered.unscored:
            print(f"{name}: {ordered.unscored:,} pairs of a query and a document have no score and count 0")
    for name, rows in rankings.items():
        if name not in dense and (listed := _listed(rows, documents, queries)) is not None:
            found[name] = _correlations(bank, listed)
    for member in (bank.members[number] for number in bank.of("remove")):
        if member["k"] == max(bank.firsts):
            table = found.setdefault(member["method"], {}).setdefault("qld", dict.fromkeys(queries.ids))
            table[member["query_id"]] = None
    for method, table in ((m, tables["qld"]) for m, tables in found.items() if "qld" in tables):
        rises, blind = bank_rises(bank, method, max(bank.firsts)), bank_rises(bank, None, max(bank.firsts))
        table |= {query: rise - blind[query] for query, rise in rises.items()}
    return found


class _Listed:
    """Dense scores that were lists."""

    unscored = 0

    def __init__(self, scores: np.ndarray):
        self._scores = scores

    def parts(self) -> Any:
        yield slice(0, len(self._scores)), self._scores


def _listed(rows: Sequence[Mapping[str, Any]], documents: Documents, queries: Corpus) -> _Listed | None:
    """Scores of a ranking that lists every document for every query; None where it does not."""
    found = np.full((queries.count, len(documents)), np.nan)
    for row in rows:
        place = queries.row_of(row["query_id"])
        entries = {entry["id"]: entry.get("score") for end in ("proponents", "opponents") for entry in row.get(end, [])}
        if place is None or len(entries) < len(documents) or None in entries.values():
            return None
        found[place] = 0
        seen = set()
        for name, score in entries.items():
            number = documents.number_of(name)
            assert number is not None and score is not None
            seen.add(number)
            found[place, number] += score
        if len(seen) < len(documents):
            return None
    return _Listed(found)


def _correlations(bank: Bank, scores: ByDocument | _Listed) -> dict[str, Table]:
    wanted = {f"lds_{kind}": bank.of(kind) for kind in ("half", "drop")} | {"loo": bank.of("loo")}
    wanted = {metric: members for metric, members in wanted.items() if len(members) >= FEWEST_MEMBERS}
    tables: dict[str, Table] = {metric: {} for metric in wanted}
    alone = np.array([int(np.flatnonzero(~bank.kept[number])[0]) for number in bank.of("loo")], np.int64)
    for part, values in scores.parts():
        for metric, members in wanted.items():
            measured = bank.log_probabilities[members, part].astype(np.float64)
            if metric == "loo":
                found = counterfactual.loo(values[:, alone], bank.log_probabilities[0, part] - measured)
            else:
                found = counterfactual.lds(values, bank.kept[members], measured)
            tables[metric] |= dict(zip(bank.query_ids[part], found, strict=True))
    return tables


def bank_rises(bank: Bank, method: str | None, k: int) -> dict[str, float]:
    """By how many nats each query's loss rises without a method's first k documents for it, or without k blind ones.

    Args:
      bank: the bank.
      method: whose first documents; None for the controls, of which every one says something of every query.
      k: how many.
    """
    full = bank.log_probabilities[0].astype(np.float64)
    if method is None:
        members = [number for number in bank.of("control") if bank.members[number]["k"] == k]
        rises = full - bank.log_probabilities[members].astype(np.float64).mean(axis=0)
        return dict(zip(bank.query_ids, rises.tolist(), strict=True))
    place = {query: number for number, query in enumerate(bank.query_ids)}
    found = {}
    for number in bank.of("remove"):
        member = bank.members[number]
        if (member["method"], member["k"]) == (method, k):
            query = place[member["query_id"]]
            found[member["query_id"]] = float(full[query] - bank.log_probabilities[number, query])
    return found


def flips(bank: Bank, method: str) -> dict[str, int | None]:
    """Of each query that the full run answers exactly the least k whose removal changes it; None if none does."""
    place = {query: number for number, query in enumerate(bank.query_ids)}
    found: dict[str, int | None] = {}
    for number in bank.of("remove"):
        member = bank.members[number]
        query, name = place[member["query_id"]], member["query_id"]
        if member["method"] != method or not bank.exact[0, query]:
            continue
        found.setdefault(name, None)
        if not bank.exact[number, query]:
            found[name] = min(member["k"], found[name] or member["k"])
    return found


def section(bank: Bank, mean: Mean, judged: Mapping[str, Mapping[str, Any]], methods: Sequence[str]) -> dict[str, Any]:
    """What the report says of a bank beside the methods' own figures.

    Args:
      bank: the bank.
      mean: numbers of queries to their mean with its interval, as a report holds it.
      judged: what `judge` found.
      methods: everything that is judged, of which those without dense scores are named.
    """
    without = sorted(
        set(methods) - {name for name, tables in judged.items() if {"lds_half", "lds_drop", "loo"} & set(tables)}
    )
    said: dict[str, Any] = {"members": bank.reader.manifest.facts["kinds"], "ceiling": _ceilings(bank, mean)}
    said["without_dense_scores"] = without
    removed = sorted({bank.members[number]["method"] for number in bank.of("remove")})
    said["removal"] = {method: _removal(bank, method, mean) for method in removed}
    return said


def _ceilings(bank: Bank, mean: Mean) -> dict[str, Any]:
    """How well other seeds of the same training do, by kind of member."""
    found: dict[str, Any] = {}
    log_p = bank.log_probabilities.astype(np.float64)
    for kind in ("half", "drop"):
        members = bank.of(kind)
        again = [
            number for number in bank.of("reseeded") if bank.members[bank.members[number]["member"]]["kind"] == kind
        ]
        if len(again) >= FEWEST_MEMBERS:
            first = [bank.members[number]["member"] for number in again]
            values = counterfactual.spearman(log_p[again].T, log_p[first].T)
            found[f"{kind}_reseeded"] = mean(values) | {"members": len(again)}
        repeats = bank.of("full") + bank.of("repeat")
        if len(repeats) >= FEWEST_MEMBERS and len(members) >= FEWEST_MEMBERS:
            values = counterfactual.reliability(log_p[repeats], log_p[members])
            found[f"{kind}_repeats"] = mean(values) | {"members": len(repeats)}
    return found


def _removal(bank: Bank, method: str, mean: Mean) -> dict[str, Any]:
    least = flips(bank, method)
    curve = {}
    for k in bank.firsts:
        rises, blind = bank_rises(bank, method, k), bank_rises(bank, None, k)
        controls = [number for number in bank.of("control") if bank.members[number]["k"] == k]
        place = [bank.query_ids.index(query) for query in least]
        by_chance = (~bank.exact[np.ix_(controls, place)]).mean(axis=0)
        curve[str(k)] = {
            "rise": mean(list(rises.values())),
            "blind": mean([blind[query] for query in rises]),
            "difference": mean([rise - blind[query] for query, rise in rises.items()]),
            "flipped": mean([float(found is not None and found <= k) for found in least.values()]),
            "flipped_blind": mean(by_chance.tolist()),
        }
    flipped = [found for found in least.values() if found is not None]
    return {"curve": curve, "flip": {"least_k": mean(flipped), "never": len(least) - len(flipped)}}


def check_scores(dense: Mapping[str, DenseScores], judged_with: Mapping[str, Reader]) -> None:
    """Refuses scores that were made of other texts or another model; says which could not be asked.

    Raises:
      InputError: a digest differs.
    """
    for name, scores in dense.items():
        if scores.reader is None:
            print(f"whether the scores {name} were made of these texts is not known: they have no manifest")
        elif unknown := lineage.check_made_of(f"the scores {name}", scores.reader, judged_with):
            print(f"whether the scores {name} were made of these {', '.join(unknown)} is not known")


def lines(said: Mapping[str, Any]) -> list[str]:
    """The section as text."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in said["members"].items())
    found = [f"bank: {kinds}"]
    labels = {"reseeded": "another seed of the same members", "repeats": "√(1 − seeds' variance / members' variance)"}
    for name, interval in said["ceiling"].items():
        kind, _, which = name.partition("_")
        found.append(f"  ceiling of LDS {kind}: {_shown(interval)}, {labels[which]}, {interval['members']} trainings")
    for method, removal in said["removal"].items():
        for k, one in removal["curve"].items():
            found.append(
                f"  without the first {k} of {method}: loss {_shown(one['rise'], '+')} nats, without {k} blind ones "
                f"{_shown(one['blind'], '+')}; answers changed {_shown(one['flipped'])}, blindly "
                f"{_shown(one['flipped_blind'])}"
            )
        least = removal["flip"]["least_k"]
        if least["n"] or removal["flip"]["never"]:
            mean = f"{least['mean']:.1f}" if least["n"] else "-"
            found.append(f"  {method}: least k that changes the answer {mean} ({removal['flip']['never']} never)")
    if said["without_dense_scores"]:
        found.append(
            f"  no LDS without a score of every document: {', '.join(said['without_dense_scores'])} "
            "(score_densely, or evaluate.scores)"
        )
    return found


def _shown(interval: Mapping[str, Any], sign: str = "") -> str:
    if interval["mean"] is None:
        return "-"
    if interval["low"] is None:
        return f"{interval['mean']:{sign}.3f} (n = {interval['n']})"
    return f"{interval['mean']:{sign}.3f} [{interval['low']:{sign}.3f}, {interval['high']:{sign}.3f}]"
