"""Orbax on object stores: a checkpoint is complete when a commit file lies in it; nothing is renamed.

Orbax does so on gs:// by itself. It takes s3:// for a local path: here it is told which key-value store that is, and to
commit as on gs://.
"""

import functools
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from jax_tda.artifacts import key_value
from jax_tda.core import files
from jax_tda.core.errors import InputError

_COMMIT = "commit_success.txt"


def options(path: epath.Path) -> dict[str, Any]:
    """What an orbax checkpointer must be given so that it can write to this path.

    Raises:
      InputError: orbax is of a version that cannot be taught s3://.
    """
    prepare(path)
    if not str(path).startswith("s3://"):
        return {}
    return {"temporary_path_class": ocp.path.atomicity.CommitFileTemporaryPath}


def prepare(path: epath.Path) -> None:
    """Makes orbax able to read from this path.

    Raises:
      InputError: orbax is of a version that cannot be taught s3://.
    """
    files.at(path)
    if str(path).startswith("s3://"):
        _teach()


def is_committed(path: epath.Path) -> bool:
    """Whether a checkpoint in an object store was written to its end; locally orbax's rename tells."""
    return not files.is_remote(path) or files.exists(path / _COMMIT)


@functools.cache
def _teach() -> None:
    """Two functions of orbax say what TensorStore calls a path; they know gs:// and are asked nothing else."""
    try:
        from orbax.checkpoint._src.path import gcs_utils
        from orbax.checkpoint._src.serialization import tensorstore_utils

        on_gcs, of_gcs = tensorstore_utils._use_gcs_driver, gcs_utils.get_kvstore_for_gcs
    except (ImportError, AttributeError) as error:
        raise InputError(
            "this version of orbax cannot write checkpoints to s3://",
            got=str(error),
            expected="orbax-checkpoint 0.12",
            remedy="install that version, or put checkpoints on a local disk or gs://",
        ) from error

    def spec(path: str) -> dict[str, Any]:
        if not str(path).startswith("s3:/"):
            return dict(of_gcs(path))
        # Orbax normalises the two slashes to one.
        found = key_value.spec("s3://" + str(path).removeprefix("s3:/").lstrip("/"))
        return found if str(path).endswith("/") else found | {"path": found["path"].rstrip("/")}

    tensorstore_utils._use_gcs_driver = lambda directory: directory.startswith("s3:/") or on_gcs(directory)
    gcs_utils.get_kvstore_for_gcs = spec
