"""What the checks of the tree look at: the repository's own files, without what tools leave behind."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = (".ci", "benchmarks", "colabs", "configs", "docs", "examples", "jax_tda", "launch", "tests", "viewer")
# What tools put among them.
_LEFT = {"__pycache__", "node_modules"}


def files(*suffixes: str) -> list[Path]:
    """Every file that somebody wrote, by suffix; all when none is given."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in _FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and not _LEFT & {*path.parts}]
    return sorted(path for path in found if not suffixes or path.suffix in suffixes)


def package() -> dict[str, Path]:
    """Every module of jax_tda by its dotted name."""
    modules = {}
    for path in sorted((ROOT / "jax_tda").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules
