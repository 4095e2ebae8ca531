"""What a newcomer copies out of the README runs."""

import re

import numpy as np

from tests.house import tree

README = (tree.ROOT / "README.md").read_text("utf-8")


def test_the_python_of_the_readme_runs_and_every_example_is_its_own_best_proponent(capsys):
    """Queries that are the first training examples: a cosine is greatest, and 1, with oneself."""
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    rows, scores = names["proponents"]
    assert rows.shape == scores.shape == (3, 5)
    np.testing.assert_array_equal(rows[:, 0], [0, 1, 2])
    np.testing.assert_allclose(scores[:, 0], 1, rtol=1e-5)
    assert np.all(scores[:, 1] < 0.999) and np.all(names["opponents"][1][:, 0] < scores[:, -1])
    assert capsys.readouterr().out


def test_the_readme_holds_one_place_for_the_table_of_the_demo():
    """Figures stand between the two marks and nowhere else, so that they can be replaced as a whole."""
    assert README.count("<!-- table -->") == README.count("<!-- /table -->") == 1
    assert README.index("<!-- table -->") < README.index("<!-- /table -->")
