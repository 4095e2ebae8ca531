"""Draws the road: `python docs/figures/road.py > docs/figures/road.svg`, with nothing but Python.

Boxes bring their own background and lines are grey, so that the picture can be read on a light page and on a dark one.
"""

WIDTH, HEIGHT, BOX_WIDTH, BOX_HEIGHT = 940, 280, 136, 58
FILLS = {"text": "#dbe7f6", "model": "#f6e3cc", "vectors": "#d9efdc", "result": "#eadff3"}

# name: (left, top, kind, title, what it is)
BOXES = {
    "texts": (10, 60, "text", "text", "documents, queries"),
    "corpus": (206, 60, "text", "corpus, queries", "tokens with ids"),
    "checkpoint": (206, 180, "model", "checkpoint", "weights, moments V"),
    "encodings": (402, 60, "vectors", "encodings", "P (∇ / √V), p × p"),
    "curvature": (402, 180, "vectors", "curvature", "R, mixed by λ"),
    "rankings": (598, 60, "result", "rankings", "best and worst 100"),
    "report": (794, 60, "result", "judgement", "retrieval, tail-patch"),
    "page": (794, 180, "result", "page", "index.html"),
}
# (from, to, verb): a step right between neighbours, or down.
ARROWS = [
    ("texts", "corpus", "tokenize"),
    ("corpus", "checkpoint", "pretrain"),
    ("corpus", "encodings", "encode"),
    ("encodings", "curvature", "estimate"),
    ("encodings", "rankings", "score"),
    ("rankings", "report", "evaluate"),
    ("report", "page", "show"),
]


def box(left, top, kind, title, note):
    """A rounded box with a title and a note."""
    middle = left + BOX_WIDTH / 2
    return (
        f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" fill="{FILLS[kind]}" '
        f'stroke="#8a929b"/>\n'
        f'<text x="{middle:g}" y="{top + 25}" font-weight="600" font-size="15" fill="#1b1f24">{title}</text>\n'
        f'<text x="{middle:g}" y="{top + 44}" font-size="12" fill="#3d444d">{note}</text>'
    )


def line(points):
    """A line through points, with a head at its end."""
    path = " ".join(f"{'M' if number == 0 else 'L'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
    return f'<path d="{path}" fill="none" stroke="#808891" stroke-width="1.6" marker-end="url(#head)"/>'


def label(x, y, text, anchor="middle"):
    """Words beside an arrow."""
    style = f'font-size="12" font-style="italic" fill="#808891" text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{text}</text>'


def arrow(start, end, verb):
    """A straight arrow between two boxes of one row or one column."""
    (left, top), (right, below) = BOXES[start][:2], BOXES[end][:2]
    if top == below:
        y = top + BOX_HEIGHT / 2
        return line([(left + BOX_WIDTH, y), (right - 3, y)]) + label((left + BOX_WIDTH + right) / 2, y - 7, verb)
    x = left + BOX_WIDTH / 2
    return line([(x, top + BOX_HEIGHT), (x, below - 3)]) + label(x + 8, top + BOX_HEIGHT + 36, verb, "start")


def picture():
    """The whole drawing."""
    parts = [arrow(*one) for one in ARROWS]
    # The model that encodes, the curvature that corrects, and the texts that BM25, gold and random rank without either.
    parts.append(line([(342, 209), (372, 209), (372, 100), (399, 100)]))
    parts.append(line([(538, 209), (568, 209), (568, 100), (595, 100)]))
    parts.append(label(574, 150, "mix, damp", "start"))
    parts.append(line([(274, 60), (274, 26), (666, 26), (666, 57)]))
    parts.append(label(470, 19, "rank_baseline: BM25, gold, random"))
    parts += [box(*one) for one in BOXES.values()]
    parts.append(
        label(
            470,
            266,
            "Every box but the text is an artifact: a directory or file with a manifest of what it was made from.",
        )
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" text-anchor="middle">\n'
        "<title>The road from text to a judged influence ranking</title>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#808891"/></marker></defs>\n'
        f"{body}\n</svg>"
    )


if __name__ == "__main__":
    print(picture())
