"""All steps of a pipeline in this process: one Python start, one import of JAX, each program compiled once."""

import contextlib
import gc
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags, logging

from jax_tda.core import machine, processes, stopping
from jax_tda.jobs import config_files, failures, settings, table
from jax_tda.pipeline.step import Step, missing

_BAD_INPUT = 2
# However fast it was compiled, and however small it is.
_KEEP_ALL = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}


def run(steps: Sequence[Step], given: tuple[list[str], list[str]], dry_run: bool = False) -> int:
    """Does the steps, or says what each would do.

    Every step's config is made, and so every setting of every job checked, before the first begins. No binding of one
    step is seen by another.

    Args:
      steps: in order.
      given: config files and bindings, as the command line of a job has them.
      dry_run: do nothing.

    Returns:
      The exit code: 0, or 2 for what the user can mend. A run that is asked to stop ends the process with 75.
    """
    step = steps[0]
    flags.FLAGS.mark_as_parsed()  # Libraries ask for flags of their own.
    logging.set_verbosity(logging.WARNING)  # Orbax tells its whole day otherwise.
    try:
        with processes.stopped_by_signal():
            configs = [_config(step, given, not dry_run) for step in steps]
            if dry_run:
                _say(steps, configs)
                return 0
            # Whatever was imported stays; what each step leaves behind is then found quickly.
            gc.freeze()
            with _compiled_once():
                for step, config in zip(steps, configs, strict=True):
                    _do(step, config)
    except processes.Stopped:
        stopping.end()
    except Exception as error:
        explained = failures.explained(error, step.output)
        if explained is None:
            raise
        print(explained, file=sys.stderr)
        return _BAD_INPUT
    return 0


def _config(step: Step, given: tuple[list[str], list[str]], complete: bool) -> Any:
    paths, bindings = given
    found = config_files.read(paths, [*bindings, *step.bindings()])
    return settings.build(step.job, found, table.JOBS, table.PARTS, complete)


@contextlib.contextmanager
def _compiled_once() -> Iterator[None]:
    """Inside, a program that an earlier step compiled is taken from it, though another object asks for it.

    Examples are encoded by one program with and without second moments, and of a small corpus compiling takes the most
    time. A cache that the user has named is taken as it is.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"]:
        yield
        return
    names = ("jax_compilation_cache_dir", *_KEEP_ALL)
    before = {name: jax.config.values[name] for name in names}
    with tempfile.TemporaryDirectory(prefix="jax_tda_", ignore_cleanup_errors=True) as folder:
        try:
            for name, value in {"jax_compilation_cache_dir": folder, **_KEEP_ALL}.items():
                jax.config.update(name, value)
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)


def _do(step: Step, config: Any) -> None:
    from jax_tda.core import mesh

    print(f"── {step.job} → {step.output}", flush=True)
    row = table.TABLE[step.job]
    mesh.one_cpu_device_per_core()
    with mesh.devices_of_a_job(row.device_per_core):
        machine.announce()
        table.work_of(step.job).run(config, step.output)
    gc.collect()


def _say(steps: Sequence[Step], configs: Sequence[Any]) -> None:
    for place, (step, config) in enumerate(zip(steps, configs, strict=True)):
        if absent := missing(step, steps[:place]):
            print(f"{step.job}: after {', '.join(one.name for one in absent)} → {step.output}")
        else:
            print(table.work_of(step.job).plan(config, step.output))
