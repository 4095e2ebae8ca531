"""The colabs run from top to bottom."""

import jupytext
from nbclient import NotebookClient

from tests.house import tree


def test_every_colab_runs_to_its_end(monkeypatch):
    """Notebooks are kept as text (jupytext, percent format) and executed here, from the repository's root."""
    monkeypatch.chdir(tree.ROOT)
    # A reader has the devices that are there; only the tests pretend to eight.
    monkeypatch.delenv("XLA_FLAGS")
    colabs = [path for path in tree.files(".py") if path.parent == tree.ROOT / "colabs"]
    assert colabs
    for path in colabs:
        notebook = jupytext.read(path)
        NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
        executed = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert executed and all(cell.execution_count for cell in executed)
