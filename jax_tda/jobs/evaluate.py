"""Judges rankings, whoever made them."""

from jax_tda.evaluation import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("evaluate", room.run, room.plan)
