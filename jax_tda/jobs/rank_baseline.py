"""Ranks the corpus without gradients: BM25, gold, random."""

from jax_tda.baselines import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("rank_baseline", room.run, room.plan)
