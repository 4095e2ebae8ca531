"""A corpus and queries small enough for a whole road, with one of everything that real data hold."""

PLACES = ["Aria", "Bora", "Cela", "Dovo", "Elun", "Fira", "Gono", "Hila", "Iska", "Jona", "Kela"]
CAPITALS = ["Mun", "Tos", "Lir", "Pak", "Ren", "Sul", "Vok", "Wim", "Zad", "Qua", "Yos"]
WORDINGS = ["The capital of {place} is {capital}.", "{capital} is the capital of {place}.", "In {place}: {capital}."]
SCRIPT = "<script>alert('&')</script>"

PASSAGES = [
    {"id": f"{place}/{number}", "text": wording.format(place=place, capital=capital), "wording": number}
    for place, capital in zip(PLACES, CAPITALS, strict=True)
    for number, wording in enumerate(WORDINGS)
]
# Longer than any context here, so that it is split; a text that would be a program; further fields of any kind.
PASSAGES += [
    {
        "id": "long",
        "text": " ".join(row["text"] for row in PASSAGES[:12]),
        "source": {"title": "An atlas", "pages": [1, 2]},
    },
    {"id": "script", "text": SCRIPT, "note": SCRIPT},
    {"id": "λ#0", "text": "Ünï\u2028cödé 日本 👩‍👩‍👧"},
]

QUERIES = [
    {
        "id": f"capital of {place}",
        "prompt": f"The capital of {place} is",
        "target": f" {capital}",
        "gold": [f"{place}/{number}" for number in range(3)],
        "relation": "capital",
    }
    for place, capital in zip(PLACES, CAPITALS, strict=True)
]
QUERIES[0]["gold"].append("long")
for query in QUERIES[:9]:
    query["weak"] = ["long", "script"]
QUERIES[2]["gold"].append("no such passage")
QUERIES.append({"id": SCRIPT, "prompt": SCRIPT, "target": " runs"})
