"""Training's step beside the one it replaced and beside its limit, in interleaved rounds of one run.

    python benchmarks/training_step.py [--threads 1] [--rounds 9] [--layers 4 --width 256 …] [--peer_python PYTHON]

Prints one JSON line: for each key the median of its CPU seconds a step (of all threads; --wall: seconds on the clock)
with its range, and the median over rounds of these ratios, each within a round, so that a change of the machine's speed
hits both sides:

    old / step       how many times faster than whole-batch autodiff and optax, as training was; the best of its forms
    torch / step     the same beside PyTorch's AdamW step on the same weights and tokens, where --peer_python has torch
    limit / step     the share of the limit: forward + frozen seconds, what no step can avoid, over the step's
    update / step    the optimizer's share

`forward` and `frozen` (forward + activation backward, no weight gradient) are as encode.py defines them, one example at
a time. With several threads `step` runs on a device per core, as `pretrain` does.
"""

import argparse
import functools
import json
import statistics
import sys
import time

import encode
import subject


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subject.add_options(parser, threads=1, rounds=9)
    parser.add_argument("--wall", action="store_true", help="seconds on the clock instead of CPU seconds")
    parser.add_argument("--peer_python", default="", help="an interpreter with torch and transformers")
    o = parser.parse_args()
    o.optimizer, o.checkpoint = "adamw", ""
    return o


def plain_step(model, optimizer, state, batch):
    """The step as it was: autodiff of the whole batch's mean loss."""
    import jax
    import optax

    from jax_tda.models.batch_gradient import mean_loss
    from jax_tda.training.step import TrainState

    loss, gradient = jax.value_and_grad(lambda p: mean_loss(model, p, batch["tokens"], batch["loss_weights"]))(
        state.params
    )
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    scalars = {"loss": loss, "gradient_norm": optax.global_norm(gradient)}
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), scalars


class Trained:
    """A jitted step whose state is its own and is given away at every call, as in training."""

    def __init__(self, step, state, batch):
        import jax

        self._step, self._batch = jax.jit(step, donate_argnums=0), batch
        self._state = jax.tree.map(lambda leaf: leaf.copy(), state)

    def __call__(self):
        import jax

        self._state, scalars = self._step(self._state, self._batch)
        return jax.block_until_ready((self._state, scalars))[1]


def programs_of(o):
    """Functions without arguments, by name; `old` and `forward` in several forms after a '/'."""
    import jax
    import jax.numpy as jnp
    import optax

    from jax_tda.core import mesh as meshes
    from jax_tda.training import optimizers
    from jax_tda.training.divided import Divided
    from jax_tda.training.step import TrainState

    made = subject.build(o)
    optimizer = optimizers.make(optimizers.OptimizerConfig(), 1000)
    programs = {}
    for name, (model, params) in made.models.items():
        state = TrainState(jnp.int32(0), params, optimizer.init(params))
        step = functools.partial(plain_step, model, optimizer)
        programs[f"old/{name}"] = Trained(step, state, jax.tree.map(jnp.asarray, made.batch))
    mesh = meshes.make_mesh()
    placed = Divided(made.scanned, optimizer, mesh)
    whole = meshes.replicate(mesh, TrainState(jnp.int32(0), made.params, optimizer.init(made.params)))
    programs["step"] = Trained(placed.step(), whole, meshes.shard_batch(mesh, made.batch))

    @jax.jit
    def update(state, gradient):
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        return optax.apply_updates(state.params, updates), opt_state

    state = TrainState(jnp.int32(0), made.params, optimizer.init(made.params))
    programs["update"] = lambda: jax.block_until_ready(update(state, made.params))
    asked = argparse.Namespace(**{**vars(o), "keys": "forward,frozen"})
    for name, program in encode.programs_of(asked).items():
        if "single" in name and ("unrolled" in name or o.layers > subject.MOST_UNROLLED):
            programs[name] = program
    return programs


def peer(o, folder):
    """PyTorch's step in a process of its own, as peers.py runs it: a function to its seconds."""
    import numpy as np
    import peers

    made = subject.build(o)
    np.savez(folder / "model.npz", **peers.handed_over(made, o))
    config = made.scanned.config
    given = {**vars(o), "norm_epsilon": config.norm_epsilon, "rope_theta": config.rope_theta}
    (folder / "options.json").write_text(json.dumps(given), "utf-8")
    side = peers.Peer(o.peer_python, folder)
    side.ask("tune", "torch_train_step")
    clock = "seconds" if o.wall else "cpu_seconds"
    return lambda: side.ask("run", "torch_train_step")[clock]


def main():
    o = parsed()
    subject.pin(o.threads)
    programs, clock = programs_of(o), time.perf_counter if o.wall else time.process_time

    def timed(program):
        def run():
            start = clock()
            program()
            return clock() - start

        return run

    measured = {name: timed(program) for name, program in programs.items()}
    if o.peer_python:
        import tempfile
        from pathlib import Path

        measured["torch"] = peer(o, Path(tempfile.mkdtemp()))
    for name, run in measured.items():
        print(f"{name}: {run():.2f} s to compile and run", file=sys.stderr)
    tried = {name: min(run() for _ in range(2)) for name, run in measured.items()}
    keys = dict.fromkeys(name.split("/")[0] for name in measured)
    best = {key: min((name for name in measured if name.split("/")[0] == key), key=tried.get) for key in keys}
    rounds = [{key: measured[name]() for key, name in best.items()} for _ in range(o.rounds)]
    print(json.dumps({"options": vars(o), "cpu": subject.cpu_model(), "variants": best, **summary(rounds)}))


def summary(rounds):
    """Medians and ranges of seconds, and of ratios within a round."""
    found = {}
    for key in rounds[0]:
        values = [one[key] for one in rounds]
        found[key] = [round(x, 4) for x in (statistics.median(values), min(values), max(values))]
    ratios = {"old / step": lambda r: r["old"] / r["step"], "update / step": lambda r: r["update"] / r["step"]}
    ratios["limit / step"] = lambda r: (r["forward"] + r["frozen"]) / r["step"]
    if "torch" in rounds[0]:
        ratios["torch / step"] = lambda r: r["torch"] / r["step"]
    for name, ratio in ratios.items():
        values = [ratio(one) for one in rounds]
        found[name] = [round(x, 3) for x in (statistics.median(values), min(values), max(values))]
    return found


if __name__ == "__main__":
    main()
