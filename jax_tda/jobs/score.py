"""Ranks the corpus for every query by its encodings."""

from jax_tda.attribution import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("score", room.run, room.plan)
