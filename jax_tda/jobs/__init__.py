"""One file per verb. A job's command hears SIGTERM before it imports anything that takes time."""

import sys

from jax_tda.core import stopping

# So it is while `python -m` looks for the module: a job's command, and nobody's library.
if sys.argv[:1] == ["-m"]:
    stopping.listen()
