"""Makes a checkpoint of a model that somebody else trained: a Hugging Face folder or a GGUF file."""

from jax_tda.jobs import door
from jax_tda.training import import_checkpoint as room

if __name__ == "__main__":
    door.run("import_checkpoint", room.run, room.plan)
