"""Nothing in the package writes to a disk but what asks first whether the output is still this job's."""

import ast

from tests.house import tree

# What `core/permits.py` is asked by; TensorBoard's events, and copies of foreign files, go to a temporary directory.
MAY_WRITE = {
    "jax_tda.core.files",
    "jax_tda.artifacts.arrays",
    "jax_tda.artifacts.lease",
    "jax_tda.models.checkpoints",
    "jax_tda.models.importers.field_page",  # A page of docs, at the word of a developer.
    "jax_tda.jobs.help_pages",  # The help, likewise.
    "jax_tda.jobs.templates",  # Copies of the examples, at the word of a user, over nothing that is there.
}
METHODS = {
    *("write_text", "mkdir", "rmtree", "unlink", "rmdir", "rename", "touch", "symlink_to", "removedirs"),
    *("makedirs", "put_file", "save_file", "tofile", "copytree", "copyfile", "rm"),
}
# Methods of a Writer carry the names that pathlib has as well.
WRITERS = {"writer", "self"}


def writes(node: ast.AST) -> bool:
    """Whether a call writes to a path by itself."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id == "open" and any(set("wax+") & set(mode) for mode in _modes(node))
    if not isinstance(node.func, ast.Attribute):
        return False
    name, of = node.func.attr, node.func.value
    if name == "open":
        return any(set("wax+") & set(mode) for mode in _modes(node))
    if name == "write_bytes":
        return not (isinstance(of, ast.Name) and of.id in WRITERS)
    return name in METHODS


def _modes(node: ast.Call) -> list[str]:
    given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
    return [v.value for v in given if isinstance(v, ast.Constant) and isinstance(v.value, str) and len(v.value) <= 3]


def test_only_what_asks_for_permission_writes():
    """Law: a new job cannot write past its lease by oversight, since whatever can write stands in these modules."""
    found = {
        f"{name}:{node.lineno}"
        for name, path in tree.package().items()
        if name not in MAY_WRITE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if writes(node)
    }
    assert not found


def test_a_write_is_recognised():
    """The search itself can fail."""
    for code in ("open(p, 'w')", "path.open('ab')", "path.write_text('x')", "p.mkdir()", "(a / b).write_bytes(c)"):
        assert any(writes(node) for node in ast.walk(ast.parse(code))), code
    for code in ("open(p)", "path.open('rb')", "writer.write_bytes('a', b)", "text.replace('a', 'b')"):
        assert not any(writes(node) for node in ast.walk(ast.parse(code))), code
