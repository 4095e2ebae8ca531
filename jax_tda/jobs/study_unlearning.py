"""What each corpus contributes to each ability: by unlearning it, by training without it, and by summed influence."""

from jax_tda.jobs import door
from jax_tda.studies.unlearning import run as room

if __name__ == "__main__":
    door.run("study_unlearning", room.run, room.plan)
