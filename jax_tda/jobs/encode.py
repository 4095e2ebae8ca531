"""Encodes every example: per-example gradient, over √V, projected; stored before R."""

from jax_tda.core import mesh
from jax_tda.encoding import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    mesh.one_cpu_device_per_core()
    door.run("encode", room.run, room.plan)
