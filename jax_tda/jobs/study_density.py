"""Asks whether performance follows the density of training data, in text and in gradients."""

from jax_tda.jobs import door
from jax_tda.studies.density import run as room

if __name__ == "__main__":
    door.run("study_density", room.run, room.plan)
