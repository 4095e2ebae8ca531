"""Prints `imported` for a checkpoint that brings no optimizer state, nothing for another; wherever it lies."""

import sys

from jax_tda.core import files
from jax_tda.core.errors import InputError

if __name__ == "__main__":
    try:
        checkpoint = files.at(sys.argv[1])
        if files.is_file(checkpoint / "decoder.json") and not files.is_file(checkpoint / "optimizer.json"):
            print("imported")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
