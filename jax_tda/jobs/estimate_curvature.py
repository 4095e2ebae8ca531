"""Estimates R of one stream from its encodings."""

from jax_tda.attribution import estimate as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("estimate_curvature", room.run, room.plan)
