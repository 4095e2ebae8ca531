"""Mixes R for a task, takes its inverse root and the corpus's norms under it."""

from jax_tda.attribution import mix as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("mix_curvature", room.run, room.plan)
