"""Turns text into a tokenized corpus with stable ids."""

from jax_tda.data import tokenize as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("tokenize", room.run, room.plan)
