"""Finds which queries the model answers exactly."""

from jax_tda.evaluation import answers as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("answer", room.run, room.plan)
