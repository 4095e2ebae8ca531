"""What the encoding benchmarks measure: a decoder of the asked shape, its tokens, and real second moments."""

import dataclasses
import functools
import os

from jax_tda.core import mesh as meshes


def add_options(parser, **defaults):
    """The shape of the model and of the batch, as every encoding benchmark names them."""
    for name, default in {
        "layers": 4, "width": 256, "mlp_width": 1024, "heads": 4, "kv_heads": 4, "context": 256,
        "vocabulary": 8192, "batch": 16, "projected_size": 16, "threads": 1, "rounds": 5, **defaults,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)


# Beyond so many the encoder scans layers also on a CPU, because compiling them one by one takes too long.
MOST_UNROLLED = 16


def take_shape(o, config):
    """Makes the options say what shape the checkpoint's decoder has."""
    o.vocabulary, o.layers, o.width, o.mlp_width = (
        config.vocabulary_size, config.layers, config.width, config.mlp_width,
    )  # fmt: skip
    o.heads, o.kv_heads, o.head_size, o.gated = config.heads, config.kv_heads, config.size_of_head, config.gated


def pin(threads):
    """Keeps this process and those that it starts to so many cores; what JAX and BLAS see decides their threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    meshes.one_cpu_device_per_core()


def cpu_model():
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown"


@dataclasses.dataclass
class Subject:
    """The model with its parameters, once with layers scanned and once unrolled, and a batch whose tokens all count."""

    models: dict
    batch: dict
    optimizers: dict = dataclasses.field(default_factory=dict)

    @property
    def scanned(self):
        """The model as it is stored."""
        return self.models["scanned"][0]

    @property
    def params(self):
        """Its parameters."""
        return self.models["scanned"][1]

    def trained(self, optimizer, layers="scanned"):
        """The optimizer's jitted step, and its state after two steps; parameters stay as they are."""
        import jax
        import jax.numpy as jnp

        from jax_tda.training import optimizers, step

        if (optimizer, layers) not in self.optimizers:
            made = optimizers.make(optimizers.OptimizerConfig(name=optimizer), 1000)
            model, params = self.models[layers]
            train = jax.jit(functools.partial(step.train_step, model, made))
            state = step.TrainState(jnp.int32(0), params, made.init(params))
            for _ in range(2):
                state, _ = train(state, self.batch)
            self.optimizers[optimizer, layers] = train, state
        return self.optimizers[optimizer, layers]

    def moments(self, optimizer):
        """Second moments of `adamw` or `adafactor` after two steps on the batch."""
        from jax_tda import second_moments_from

        return second_moments_from(self.trained(optimizer)[1].opt_state, b2=0.98)


def build(o):
    """The subject of one run; its numbers depend on the options, or on the checkpoint that they name, alone."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jax_tda.models import layers
    from jax_tda.models.decoder import Decoder, DecoderConfig

    if getattr(o, "checkpoint", ""):
        from jax_tda.models.checkpoint_artifact import open_checkpoint

        stored = open_checkpoint(o.checkpoint)
        scanned, params = stored.model, jax.tree.map(jnp.asarray, stored.params())
        take_shape(o, scanned.config)
    else:
        config = DecoderConfig(
            vocabulary_size=o.vocabulary, layers=o.layers, width=o.width, heads=o.heads, kv_heads=o.kv_heads,
            mlp_width=o.mlp_width, tied=True,
        )  # fmt: skip
        scanned = Decoder(config)
        params = jax.jit(lambda: scanned.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"])()
    models = {"scanned": (scanned, params)}
    if o.layers <= MOST_UNROLLED:
        models["unrolled"] = (scanned.unrolled(), layers.unstack_layers(params))
    tokens = np.random.default_rng(0).integers(1, o.vocabulary, (o.batch, o.context)).astype(np.int32)
    return Subject(models, {"tokens": tokens, "loss_weights": np.ones(tokens.shape, np.float32)})
