"""The house stays a house: small files, rooms with names, nothing of one machine in it."""

import ast
import re
import statistics

from tests.house import tree

NAMELESS = re.compile(r"(^|_)(utils?|helpers?|common|misc|base|manager)(_|$)")
# Spelt in pieces, so that this file does not find itself.
MACHINE = re.compile(
    r"(?<![\w.*])/(" + "|".join(["ho" + "me", "ro" + "ot", "wo" + "rk", "fa" + "rm", "Use" + "rs"]) + r")/\w"
)
UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]))
SKIPPED = re.compile(r"pytest\.(mark\.)?(sk" + r"ip|xf" + r"ail)|importor" + "skip")
CHECKING = ("assert", "check", "expect")


def lines(path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_a_file_is_one_thought():
    """At most 400 lines each, a median of at most 120."""
    sizes = {path: len(lines(path)) for path in tree.package().values()}
    written = [size for size in sizes.values() if size]
    assert {str(path): size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(written) <= 120


def test_every_room_and_module_has_a_name():
    """A module called after nothing collects everything."""
    assert [name for name in tree.package() if any(NAMELESS.search(part) for part in name.split("."))] == []


def test_no_file_knows_a_machine_or_is_unfinished():
    """No absolute path of a person's machine, no unfinished work, no test left out but for a missing package."""
    text_files = tree.files(".py", ".gin", ".sh", ".md", ".toml", ".css", ".js", ".ts", ".tsx", ".mjs", "")
    found = [
        f"{path.relative_to(tree.ROOT)}:{number}: {line.strip()}"
        for path in text_files
        for number, line in enumerate(lines(path), 1)
        if MACHINE.search(line)
        or UNFINISHED.search(line)
        or (path.suffix == ".py" and path.name != "missing.py" and SKIPPED.search(line))
    ]
    assert found == []


def _asserts(function: ast.AST) -> bool:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = [getattr(call, "attr", getattr(call, "id", "")).lstrip("_") for call in calls]
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        name in ("raises", "warns", "fail") or name.startswith(CHECKING) for name in names
    )


def test_every_test_states_its_law_and_asserts_something():
    """A test without a docstring states no law; one without an assertion cannot fail."""
    silent = []
    for path in (tree.ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                if not ast.get_docstring(node) or not _asserts(node):
                    silent.append(f"{path.relative_to(tree.ROOT)}:{node.lineno} {node.name}")
    assert silent == []
