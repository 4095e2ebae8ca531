"""`python -m jax_tda VERB …` is `jax-tda VERB …`."""

from jax_tda.core import stopping

if __name__ == "__main__":
    stopping.listen()
    from jax_tda.jobs import command

    command.main()
