"""Runs one job in several processes on this machine; see jax_tda/pipeline/local_processes.py, which does it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jax_tda.pipeline.local_processes import finish, main, start

__all__ = ["finish", "main", "start"]

if __name__ == "__main__":
    sys.exit(main())
