"""Makes the page."""

from jax_tda.viewer import run as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("show", room.run, room.plan)
