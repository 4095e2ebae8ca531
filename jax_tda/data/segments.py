"""What `tokenize` makes of a stretch of one input shard, kept beside the unfinished corpus until it is assembled.

Files below one folder: `tokens` int32, all pieces' one after another; `spans` int32 [pieces, 4], a piece's length,
first position whose loss counts, document within the segment, and tokens left out; `ids`, entries in the order of
their hashes; `records`, JSON lines, a piece each.
"""

import array
import hashlib
import json
from typing import Any

import numpy as np
from etils import epath

from jax_tda.core import files
from jax_tda.data import records, split

# A segment holds about so many bytes of tokens and records: what is in memory at a time.
BYTES = 16 << 20
ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<i4"), ("kind", "<i4"), ("row", "<i8")])
# Of entries: a document that is an example, one that was split, and a piece of such a one.
WHOLE, SPLIT, PIECE = 0, 1, 2


def _entry(name: str, document: int, kind: int, row: int) -> tuple[int, int, int, int, int]:
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"), document, kind, row


def _described(piece: split.Piece, record: records.Record) -> dict[str, Any]:
    row: dict[str, Any] = {"id": piece.id, "document": piece.document, "text": piece.text}
    if isinstance(record, records.Query):
        row |= {"prompt": record.prompt, "target": record.target, "gold": list(record.gold)}
        if record.weak is not None:
            row["weak"] = list(record.weak)
    return row | {"fields": dict(record.fields)}


class Draft:
    """A segment that is being filled.

    Args:
      first_row: of its shard, where it begins.
    """

    def __init__(self, first_row: int):
        self._tokens, self._spans = array.array("i"), list[tuple[int, int, int, int]]()
        self._entries, self._lines = list[tuple[int, int, int, int, int]](), list[bytes]()
        self._doubtful = dict[str, list[int]]()
        self._documents, self._bytes = 0, 0
        self.first_row, self.rows = first_row, 0
        self.rejected = dict[str, int]()
        # By id where it stands; what is the same in another segment is found when all are there.
        self.seen = dict[str, str]()

    @property
    def full(self) -> bool:
        """Whether it should be written."""
        return self._bytes + 4 * len(self._tokens) >= BYTES

    def reject(self, reason: str) -> None:
        """Counts a record that is left out."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def add(self, record: records.Record, pieces: list[split.Piece], row: int) -> None:
        """Takes up a record and its pieces; `row` is its place in the shard, from 0."""
        number, whole = self._documents, len(pieces) == 1 and pieces[0].id == record.id
        self._documents += 1
        self._entries.append(_entry(record.id, number, WHOLE if whole else SPLIT, row))
        for piece in pieces:
            self._tokens.extend(piece.tokens)
            self._spans.append((len(piece.tokens), piece.loss_start, number, piece.left_out))
            line = (json.dumps(_described(piece, record), ensure_ascii=False, allow_nan=False) + "\n").encode()
            self._lines.append(line)
            self._bytes += len(line) + 64
            if not whole:
                self._entries.append(_entry(piece.id, number, PIECE, row))
        if reason := split.doubt(record):
            self._doubtful.setdefault(reason, []).append(number)

    def write(self, folder: epath.Path, last: bool) -> dict[str, Any]:
        """Writes the files, and returns what is known of them."""
        spans = np.array(self._spans, np.int32).reshape(-1, 4)
        files.write(folder / "tokens", np.array(self._tokens, np.int32).tobytes())
        files.write(folder / "spans", spans.tobytes())
        files.write(folder / "ids", np.sort(np.array(self._entries, ENTRY), order="high", kind="stable").tobytes())
        files.write(folder / "records", b"".join(self._lines))
        return {
            "first_row": self.first_row,
            "rows": self.rows,
            "last": last,
            "entries": len(self._entries),
            "rejected": self.rejected,
            "doubtful": self._doubtful,
            **statistics(spans),
        }


def statistics(spans: np.ndarray) -> dict[str, int]:
    """What is counted of pieces."""
    pieces_of = np.unique(spans[:, 2], return_counts=True)[1]
    return {
        "examples": len(spans),
        "documents": len(pieces_of),
        "split": int((pieces_of > 1).sum()),
        "tokens": int(spans[:, 0].sum(dtype=np.int64)),
        "longest": int(spans[:, 0].max(initial=0)),
        "left_out": int(spans[:, 3].sum(dtype=np.int64)),
    }


class Kept:
    """A segment that was written.

    Args:
      folder: where its files lie.
      place: the input shard that it is a stretch of, and which stretch.
      facts: what `Draft.write` returned.
      dropped: documents in it that are left out.
    """

    def __init__(
        self, folder: epath.Path, place: tuple[int, int], facts: dict[str, Any], dropped: tuple[int, ...] = ()
    ):
        self.folder, self.place, self.facts, self.dropped = folder, place, facts, dropped

    def _read(self, name: str, dtype: Any) -> np.ndarray:
        return np.frombuffer(files.read(self.folder / name), dtype)

    def entries(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Its ids from `start` to `stop`, as `ENTRY` has them, in the order of `high`."""
        stop, size = self.facts["entries"] if stop is None else stop, ENTRY.itemsize
        return np.frombuffer(files.read_range(self.folder / "ids", start * size, stop * size), ENTRY)

    def _stays(self, spans: np.ndarray) -> np.ndarray:
        return ~np.isin(spans[:, 2], self.dropped)

    def spans(self) -> np.ndarray:
        """int32 [pieces, 4] of the pieces that stay."""
        spans = self._read("spans", np.int32).reshape(-1, 4)
        return spans[self._stays(spans)] if self.dropped else spans

    def tokens(self) -> np.ndarray:
        """The tokens of the pieces that stay, one after another."""
        tokens = self._read("tokens", np.int32)
        if not self.dropped:
            return tokens
        spans = self._read("spans", np.int32).reshape(-1, 4)
        return tokens[np.repeat(self._stays(spans), spans[:, 0])]

    def records(self) -> bytes:
        """The lines of the pieces that stay."""
        data = files.read(self.folder / "records")
        if not self.dropped:
            return data
        stays = self._stays(self._read("spans", np.int32).reshape(-1, 4))
        return b"".join(line for line, stay in zip(data.splitlines(keepends=True), stays, strict=True) if stay)

    def name_of(self, document: int) -> str:
        """The id of one of its documents."""
        place = int(np.flatnonzero(self._read("spans", np.int32).reshape(-1, 4)[:, 2] == document)[0])
        name: str = json.loads(files.read(self.folder / "records").splitlines()[place])["document"]
        return name
