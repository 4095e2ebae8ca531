"""Turns passages with probes into a corpus and queries, among distractors."""

from jax_tda.data import probed_passages as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("prepare_probes", room.run, room.plan)
