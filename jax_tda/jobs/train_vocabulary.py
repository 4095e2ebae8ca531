"""Makes the vocabulary: SentencePiece trained on a corpus, bytes, or the user's own model."""

from jax_tda.data import train_vocabulary as room
from jax_tda.jobs import door

if __name__ == "__main__":
    door.run("train_vocabulary", room.run, room.plan)
