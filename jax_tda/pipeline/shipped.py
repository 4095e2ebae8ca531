"""Where the example configs and the launchers lie: beside the package in a checkout, inside an installed one."""

import pathlib

# What a wheel brings (setup.py copies it) and a checkout has.
FOLDERS = ("configs", "launch")
_PACKAGE = pathlib.Path(__file__).parents[1]


def place(name: str) -> pathlib.Path:
    """The path of a file or folder, named as in a checkout: `configs/road/demo.gin`."""
    inside = _PACKAGE / "shipped" / name
    return inside if inside.exists() else _PACKAGE.parent / name
