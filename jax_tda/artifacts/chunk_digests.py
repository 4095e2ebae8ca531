"""What the numbers of an array's chunks were when they were written: eight bytes of SHA-256 for each chunk.

A shard carries checksums over itself, which say nothing of whose shard it is. These digests lie beside the array in
`NAME.digests`, whose SHA-256 stands in the manifest; so an artifact's digest covers its numbers, and a shard that was
exchanged with another, or comes from another run, is noticed when it is read.
"""

import hashlib

import numpy as np

from jax_tda.core.errors import InputError

# What the file beside an array NAME is called: NAME and this.
FILE = ".digests"
_TYPE = np.dtype("<u8")


def of(values: np.ndarray, chunk: tuple[int, int]) -> np.ndarray:
    """uint64 [row chunks, column chunks]: of each chunk the first eight bytes of the SHA-256 of its numbers.

    Args:
      values: rows of an array, the first of which begins a chunk; little-endian bytes in C order count.
      chunk: rows and columns of a chunk; further axes are whole. Chunks at the ends may be smaller.
    """
    table = values.reshape(len(values), 1) if values.ndim == 1 else values
    rows, columns = chunk
    found = np.zeros((-(-table.shape[0] // rows), -(-table.shape[1] // columns)), _TYPE)
    for i, j in np.ndindex(*found.shape):
        part = np.ascontiguousarray(table[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns])
        found[i, j] = int.from_bytes(hashlib.sha256(part.reshape(-1).view(np.uint8).data).digest()[:8], "little")
    return found


class Table:
    """The digests of all chunks of an array, some of which may not be known.

    Args:
      path: where the array lies.
      shape: the array's.
      chunk: rows and columns of a chunk.
      shard_rows: rows of a shard, which is a file.
    """

    def __init__(self, path: str, shape: tuple[int, ...], chunk: tuple[int, int], shard_rows: int):
        self._path, self._axes, self.chunk, self._shard_rows = path, len(shape), chunk, shard_rows
        columns = shape[1] if len(shape) > 1 else 1
        self._digests = np.zeros((-(-shape[0] // chunk[0]), -(-columns // chunk[1])), _TYPE)
        # Whether chunks that are read are compared; those of an array that is being written are not.
        self.compares = False
        # While an array is written: those that are known. While it is read: those that were compared.
        self.seen = np.zeros(self._digests.shape, bool)

    def note(self, row: int, column: int, digests: np.ndarray) -> None:
        """Keeps digests of chunks that begin with this row and column of the array."""
        place = self._place(row, column, digests.shape)
        self._digests[place], self.seen[place] = digests, True

    def _place(self, row: int, column: int, size: tuple[int, ...]) -> tuple[slice, slice]:
        i, j = row // self.chunk[0], column // self.chunk[1]
        return slice(i, i + size[0]), slice(j, j + size[1])

    def to_bytes(self) -> bytes:
        """All digests, in the order of the chunks, eight bytes each."""
        return self._digests.tobytes()

    def load(self, data: bytes) -> None:
        """Takes what `to_bytes` gave; none was compared yet.

        Raises:
          InputError: the array has another number of chunks.
        """
        if len(data) != self._digests.nbytes:
            raise InputError(
                f"the digests {self._path}{FILE} are of another array",
                got=f"{len(data) // 8} digests",
                expected=f"{self._digests.size}, one for each chunk",
                remedy="restore the artifact from a copy, or delete it and run its job again",
            )
        self._digests, self.compares = np.frombuffer(data, _TYPE).reshape(self._digests.shape), True

    def unseen(self, first: int, last: int) -> bool:
        """Whether a chunk of rows [first, last) is to be compared."""
        return self.compares and bool((~self.seen[first // self.chunk[0] : -(-last // self.chunk[0])]).any())

    def compare(self, row: int, values: np.ndarray) -> None:
        """Refuses rows whose chunks are not those that were written.

        Args:
          row: of the array, where a chunk begins.
          values: rows from there on, all columns, to the end of a chunk or of the array.

        Raises:
          InputError: naming the first shard that differs.
        """
        found = of(values, self.chunk)
        place = self._place(row, 0, found.shape)
        wrong = np.argwhere(found != self._digests[place])
        if len(wrong):
            i, j = (int(number) for number in wrong[0])
            # A shard is one chunk wide.
            at = [(row + i * self.chunk[0]) // self._shard_rows, j] + [0] * self._axes
            file = "/".join(str(number) for number in at[: self._axes])
            raise InputError(
                f"the shard {self._path}/c/{file} is damaged or belongs elsewhere",
                got=f"numbers with digest {found[i, j]:016x} from row {row + i * self.chunk[0]} on",
                expected=f"digest {self._digests[place][i, j]:016x}, as when the artifact was finished",
                remedy="restore the file from a copy of this artifact, or delete the artifact and run its job again",
            )
        self.seen[place] = True
