"""Refuses at the start of a road what a job far down it would refuse."""

from jax_tda.evaluation import check_road as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("check_road", room.run, room.plan)
