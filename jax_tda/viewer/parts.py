"""The parts of a page's data: JSON, deflated and written in base64, so that no character of a text is ever code."""

import base64
import json
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Fast enough for a page of thousands of queries; the highest level is some 3 % smaller and takes three times as long.
_LEVEL = 5
# A lone surrogate, which JSON can carry, has no bytes: everything is ASCII before it is deflated.
_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


def encoded(parts: Mapping[str, Any]) -> dict[str, str]:
    """Each part as letters, digits, `+`, `/` and `=`: base64 of zlib's deflation of its JSON.

    Raises:
      ValueError: a part holds NaN or infinity.
    """

    def encode(value: Any) -> str:
        return base64.b64encode(zlib.compress(_JSON.encode(value).encode("ascii"), _LEVEL)).decode("ascii")

    # zlib gives the interpreter away, so that two cores deflate at once.
    with ThreadPoolExecutor() as workers:
        return dict(zip(parts, workers.map(encode, parts.values()), strict=True))


def decoded(text: str) -> Any:
    """What `encoded` was given."""
    return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))


def as_script(name: str, text: str) -> bytes:
    """A script file that hands one part to the page: opened from disk, a page can load scripts and nothing else."""
    return f'jaxTdaPart("{name}","{text}");\n'.encode("ascii")
