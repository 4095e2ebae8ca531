"""Writes the demo's corpus and queries as JSON lines."""

from jax_tda.data.facts import write as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("prepare_facts", room.run, room.plan)
