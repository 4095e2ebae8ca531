"""Ranks the corpus under many settings in one pass over its encodings."""

from jax_tda.attribution import sweep as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("score_sweep", room.run, room.plan)
