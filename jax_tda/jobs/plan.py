"""Says what a config would need on TPUs that are not there: memory by the compiler, FLOPs, bytes, hours, minutes."""

from jax_tda.jobs import door
from jax_tda.planning import run as room

if __name__ == "__main__":
    door.run("plan", room.run, room.plan)
