"""Rows of different lengths as levanter's JaggedArrayStore keeps them: one long array, and where each row ends.

`offsets` int64: the number of rows, then each row's end in `data`; both zarr3, far longer than what is written.
Source of the form: levanter/store/jagged_array.py.
"""

from collections.abc import Iterator

import numpy as np
import tensorstore as ts

from jax_tda.artifacts import key_value

_AT_ONCE = 1024
# Of values, so that a batch of long rows is read in parts.
_VALUES = 1 << 22


class JaggedArray:
    """The rows at a path.

    Args:
      path: the folder that holds `offsets` and `data`.

    Raises:
      ValueError: there is no such array, or a part of it is missing.
    """

    def __init__(self, path: str):
        self._offsets, self._data = (_opened(f"{path}/{name}") for name in ("offsets", "data"))
        self.count = int(self._offsets[0].read().result())
        self.whole_numbers = bool(np.issubdtype(self._data.dtype.numpy_dtype, np.integer))

    def rows(self) -> Iterator[np.ndarray]:
        """Every row in order, read in parts."""
        before = 0
        for first in range(0, self.count, _AT_ONCE):
            stop = min(first + _AT_ONCE, self.count)
            ends = np.asarray(self._offsets[first + 1 : stop + 1].read().result(), np.int64)
            if (np.diff(ends, prepend=before) < 0).any():
                raise ValueError(f"row ends that fall between rows {first} and {stop}")
            while len(ends):
                taken = max(1, int(np.searchsorted(ends, before + _VALUES, "right")))
                values = np.asarray(self._data[before : int(ends[taken - 1])].read().result())
                yield from np.split(values, ends[: taken - 1] - before)
                before, ends = int(ends[taken - 1]), ends[taken:]


def _opened(path: str) -> ts.TensorStore:
    # A chunk that is lost must not read as zeros.
    spec = {"driver": "zarr3", "kvstore": key_value.spec(path), "fill_missing_data_reads": False}
    return ts.open(spec, open=True, read=True).result()
