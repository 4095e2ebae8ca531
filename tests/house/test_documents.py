"""The documents are true of the tree: commands exist, links lead somewhere."""

import re
import subprocess
import sys

from jax_tda.jobs import command, table
from tests.house import tree

VERBS = {*table.TABLE, *table.ALIASES, *command.PIPELINES, "study", "help_pages"}
DOCUMENTS = tree.files(".md")
TEXTS = {str(path.relative_to(tree.ROOT)): path.read_text("utf-8") for path in DOCUMENTS}


def test_every_make_command_in_the_documents_is_a_target():
    """A newcomer's first command must not fail."""
    makefile = (tree.ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    used = {(name, target) for name, text in TEXTS.items() for target in re.findall(r"[`$ ]make ([a-z][a-z-]*)`", text)}
    used |= {
        (name, target)
        for name, text in TEXTS.items()
        for target in re.findall(r"^ {4}make ([a-z-]+)", text, re.MULTILINE)
    }
    assert {"demo", "test", "check"} <= {target for _, target in used}
    assert {(name, target) for name, target in used if target not in targets} == set()


def test_every_job_and_script_in_the_documents_exists():
    """`python -m jax_tda.jobs.X` and `launch/…sh` are typed as they stand."""
    missing = []
    for name, text in TEXTS.items():
        verbs = re.findall(r"-m jax_tda\.jobs\.([a-z_]+)|(?<![-/\w])jax-tda ([a-z_]+)", text)
        unknown = [job or verb for job, verb in verbs if (job or verb) not in VERBS]
        scripts = re.findall(r"\b(?:launch|configs|benchmarks|colabs)/[\w/.-]+\.(?:sh|gin|py)\b", text)
        missing += [(name, verb) for verb in unknown]
        missing += [(name, path) for path in scripts if not (tree.ROOT / path).exists() and "/X." not in path]
    assert missing == []


def test_every_figure_is_what_its_script_draws():
    """`docs/figures/NAME.py` prints `NAME.svg`, so a picture is never older than its source."""
    scripts = sorted((tree.ROOT / "docs/figures").glob("*.py"))
    assert scripts
    for script in scripts:
        drawn = subprocess.run([sys.executable, str(script)], capture_output=True, check=True).stdout.decode("utf-8")
        assert drawn == script.with_suffix(".svg").read_text("utf-8"), f"run {script.name} again"


def test_every_link_in_the_documents_leads_to_a_file():
    """Relative links only; the network is not asked."""
    missing = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text("utf-8")):
            if not (path.parent / target).exists():
                missing.append((str(path.relative_to(tree.ROOT)), target))
    assert missing == []
