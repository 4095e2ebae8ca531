"""Encodes every example: per-example gradient, over √V, projected; stored before R."""

from jax_tda.encoding import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("encode", room.run, room.plan)
