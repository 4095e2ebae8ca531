"""Trains a decoder on a tokenized corpus and keeps its optimizer state."""

from jax_tda.jobs import door
from jax_tda.training import run as room

if __name__ == "__main__":
    door.run("pretrain", room.run, room.plan)
