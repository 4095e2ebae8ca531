"""A toy study by the command that a user types: gone to its end, or killed on the way."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Study:
    """One study's command; programs compiled by one run are there for the next.

    Args:
      place: a folder of its own.
      job: the module's name.
      settings: the lines of its config.
    """

    def __init__(self, place: Path, job: str, settings: str):
        config = place / "toy.gin"
        config.write_text(settings)
        self._command = [sys.executable, "-m", f"jax_tda.jobs.{job}", f"--gin_file={config}", "--seeds=1"]
        # One device, as a user would have it.
        self._environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
            "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def go(self, output: Path) -> subprocess.CompletedProcess[str]:
        """Goes to the end."""
        command = [*self._command, f"--output_dir={output}"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self._environment, check=False)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]
        return ended

    def kill(self, output: Path, made: str) -> None:
        """Begins, and is killed as soon as a file below the output matches the pattern."""
        command = [*self._command, f"--output_dir={output}"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = subprocess.Popen(command, cwd=ROOT, env=self._environment, **silent)
        while running.poll() is None and not any(output.glob(made)):
            time.sleep(0.02)
        running.kill()
        assert running.wait() == -9, "ended before it was killed"
