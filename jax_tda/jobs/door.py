"""What every job's `main` goes through: flags and gin files in, one frozen config out, errors without a traceback.

python -m jax_tda.jobs.VERB --gin_file=FILE [--gin_bindings=…] --output_dir=DIR [--dry_run] [--seeds N]
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import app, flags, logging

from jax_tda.core import stopping
from jax_tda.jobs import config_files, failures, group, settings, study_seeds, table

_BAD_INPUT = 2


def run(
    job: str,
    execute: Callable[[Any, str], Any],
    plan: Callable[[Any, str], str],
    jobs: Mapping[str, str] = table.JOBS,
    parts: Mapping[str, str] = table.PARTS,
) -> None:
    """Reads the flags, builds the job's config, and calls `plan` under --dry_run, otherwise `execute`.

    Args:
      job: the name of the job in `jobs`.
      execute: does the work, given the config and the output directory.
      plan: says what would be done, read and written, given the same.
      jobs: every name that a config may set, as "module:Config".
      parts: configs that stand inside other configs, by the name that sets them.
    """
    stopping.listen()  # A command that imported the job by another way than `python -m` does not listen yet.
    flags.DEFINE_multi_string("gin_file", [], "Config file; may be repeated, later ones win.")
    flags.DEFINE_multi_string("gin_bindings", [], "One setting, `job.parameter = value`; may be repeated.")
    flags.DEFINE_string("output_dir", None, "Where the artifact is written.", required=True)
    flags.DEFINE_boolean("dry_run", False, "Print plan, sizes and cost; compute and write nothing.")
    study_seeds.define_flag()
    group.define_flags()

    def main(arguments: list[str]) -> None:
        if arguments[1:]:
            raise app.UsageError(f"Unexpected arguments: {arguments[1:]}")
        given = flags.FLAGS
        if not given["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Orbax tells its whole day otherwise.
        try:
            bindings = config_files.read(given.gin_file, given.gin_bindings)
            config = study_seeds.asked(job, settings.build(job, bindings, jobs, parts, not given.dry_run))
            if given.dry_run:
                print(plan(config, given.output_dir))
            else:
                group.work(
                    lambda: execute(config, given.output_dir), job in table.TABLE and table.TABLE[job].device_per_core
                )
        except Exception as error:
            explained = failures.explained(error, given.output_dir)
            if explained is None:
                group.give_up(error)
            print(explained, file=sys.stderr)
            group.leave(_BAD_INPUT, error)

    app.run(main)
