"""Records of finished units of work beside an unfinished artifact: what was found out, which shards were written."""

import json
from typing import Any

from etils import epath

from jax_tda.artifacts import arrays, key_value
from jax_tda.artifacts.faults import explained
from jax_tda.artifacts.manifest import canonical
from jax_tda.core import files

# Of a record: the digests of the shards that the unit wrote, by array.
_SHARDS = "shards' digests"


class Units:
    """The records in one folder.

    Args:
      folder: where they lie, a file each.
      written: the artifact's arrays by name, as far as they were made.
    """

    def __init__(self, folder: epath.Path, written: dict[str, arrays.Array]):
        self._folder, self._arrays = folder, written

    def _records(self) -> dict[str, Any]:
        store = key_value.open_store(str(self._folder))
        names = [name.decode() for name in store.list().result()]
        # All asked for at once: each is small, and may be far away.
        asked = {name.removesuffix(".json"): store.read(name) for name in names if name.endswith(".json")}
        return {unit: json.loads(read.result().value) for unit, read in asked.items()}

    def finished(self) -> dict[str, Any]:
        """The facts recorded for each unit."""
        return {unit: {n: v for n, v in facts.items() if n != _SHARDS} for unit, facts in self._records().items()}

    def finish(self, unit: str, facts: dict[str, Any]) -> None:
        """Records one, and the shards written since the last record."""
        written = {name: dict(array.written) for name, array in self._arrays.items() if array.written}
        with explained(str(self._folder)):
            files.make_folder(self._folder)
        record = facts | ({_SHARDS: written} if written else {})
        arrays.write_atomically(str(self._folder / f"{unit}.json"), canonical(record))
        for name, shards in written.items():
            for shard in shards:
                del self._arrays[name].written[shard]

    def digests(self) -> dict[str, bytes]:
        """Of each array the digests of its chunks, whoever wrote them; chunks of which no record tells are read."""
        records = self._records() if self._arrays else {}
        for name, array in self._arrays.items():
            # What this process wrote since is newer than what any record says.
            for written in [*(facts.get(_SHARDS, {}).get(name, {}) for facts in records.values()), dict(array.written)]:
                array.recall(written)
        return {name: array.demand_digests() for name, array in self._arrays.items()}
