"""Asks how a model acquires and forgets injected passages, and whether influence foretells it."""

from jax_tda.jobs import door
from jax_tda.studies.acquisition import run as room

if __name__ == "__main__":
    door.run("study_acquisition", room.run, room.plan)
