"""Ranks a corpus while it is encoded, and stores no encoding."""

from jax_tda.attribution import fused as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("score_corpus", room.run, room.plan)
