"""The law of the generated tables: the page says what the gate does."""

from pathlib import Path

from jax_tda.models.importers import field_page
from jax_tda.models.importers.family_fields import TABLES


def test_the_page_holds_the_tables_of_this_code():
    """Else run: python -m jax_tda.models.importers.field_page docs/models.md."""
    text = Path("docs/models.md").read_text("utf-8")
    assert field_page.update(text) == text
    for family, table in TABLES.items():
        assert f"#### `{family}`" in text
        assert [name for name in table if f"`{name}`" not in text] == []
