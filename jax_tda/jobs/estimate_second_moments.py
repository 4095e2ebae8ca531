"""Makes second moments for a checkpoint that has none: from batches, an optax state or an optimizer.pt."""

from jax_tda.encoding import estimate_moments as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("estimate_second_moments", room.run, room.plan)
