"""Embeds every example's text by a sentence encoder, as encodings that are scored like any others."""

from jax_tda.encoding import embed as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("embed", room.run, room.plan)
