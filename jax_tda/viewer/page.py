"""A run as a static page that opens from disk: every method's passages for every query, and tables with intervals."""

import base64
import hashlib
import importlib.resources
import string
from html import escape

from jax_tda.viewer import parts
from jax_tda.viewer.material import Material
from jax_tda.viewer.payload import payload
from jax_tda.viewer.settings import PageConfig


def render(material: Material, config: PageConfig = PageConfig()) -> dict[str, bytes]:
    """The files of the page by their path relative to its folder: `index.html`, and `data/PART.js` where it is large.

    Nothing is fetched from elsewhere: style and script stand in the file, and data are scripts that hand over letters
    and digits. No text of the data is ever read as markup or code; the page's own policy lets no script run but the one
    of this package and, where there is such a folder, files beside it.

    Raises:
      InputError: a score is not finite.
    """
    data = parts.encoded(payload(material, config))
    alone = sum(map(len, data.values())) <= config.one_file_below * 1e6
    script, style = _resource("bundle/page.js"), _resource("bundle/page.css")
    page = string.Template(_resource("page.html")).substitute(
        title=escape(config.title),
        script=script,
        style=style,
        script_source=f"'sha256-{_digest(script)}'" + ("" if alone else " 'self'"),
        style_digest=_digest(style),
        data="".join(_inline(name, text) for name, text in data.items()) if alone else "",
    )
    # A lone surrogate in the title, which JSON can carry, has no bytes; the data are ASCII already.
    files = {"index.html": page.encode("utf-8", errors="replace")}
    return files if alone else files | {f"data/{name}.js": parts.as_script(name, text) for name, text in data.items()}


def _inline(name: str, text: str) -> str:
    """A part inside the page: a script element of a type that no browser runs, with base64 in it."""
    return f'<script type="text/plain" id="part-{name}">{text}</script>\n'


def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
