"""Asks how influence and attribution change with a model's size and the length of its training."""

from jax_tda.jobs import door
from jax_tda.studies.scaling import run as room

if __name__ == "__main__":
    door.run("study_scaling", room.run, room.plan)
