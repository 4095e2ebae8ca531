"""docs/scale.md is what the job `plan` prints, where no compiler is needed for it, and says what the compiler said."""

import re

from jax_tda.jobs import config_files, settings
from jax_tda.jobs.table import JOBS, PARTS
from jax_tda.planning import chips, run
from tests.house import tree

SHEET = (tree.ROOT / "docs/scale.md").read_text("utf-8")
CONFIG = tree.ROOT / "configs/road/c4_8b.gin"


def test_the_sheet_holds_what_the_job_prints(tmp_path):
    """Law: every table that follows from shapes alone stands there as the job makes it, character for character."""
    bindings = config_files.read([str(CONFIG)], ["plan.programs = ()"])
    made = run.run(settings.build("plan", bindings, JOBS, PARTS), str(tmp_path / "plan"))
    for part in made.read_bytes("plan.md").decode().strip().split("\n\n"):
        assert part in SHEET, part


def test_what_the_compiler_said_of_256_chips_of_v5e_adds_up_and_fits():
    """Law: training, rank one and exact have a row; a sum is that of its parts without what is aliased, and fits."""
    section = re.search(r"^v5e:16x16: .*?\n\n(.*?)\n\n", SHEET, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section[1].splitlines()[2:]]
    assert tuple(row[0] for row in rows) in (run.PROGRAMS, run.PROGRAMS[:3])
    for _, *cells, share in rows:
        arguments, outputs, temporaries, aliased, total = map(float, cells)
        assert abs(arguments + outputs + temporaries - aliased - total) < 0.025
        assert (
            abs(total / (chips.CHIPS["v5e"].memory / chips.GIB) - float(share.strip("%")) / 100) < 0.01 and total < 16
        )
