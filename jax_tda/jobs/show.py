"""Makes the page."""

from jax_tda.jobs import door
from jax_tda.viewer import run as room

if __name__ == "__main__":
    door.run("show", room.run, room.plan)
