"""Scores every pair of passage and query by their encodings."""

from jax_tda.attribution import dense as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("score_densely", room.run, room.plan)
