"""Where TensorStore finds a path: a local directory, or a prefix of a bucket (gs://, s3://), with retries."""

import functools
import os
from typing import Any

import tensorstore as ts

# About a minute and a half of patience with a store that does not answer, or says that it is busy.
_RETRIES = {"max_retries": 8, "initial_delay": "500ms", "max_delay": "16s"}


def spec(path: str) -> dict[str, Any]:
    """The key-value store whose keys are the names below `path`.

    Credentials and region are found as the store's own tools find them. AWS_ENDPOINT_URL names another service that
    speaks S3; TENSORSTORE_GCS_HTTP_URL, which TensorStore reads itself, one that speaks Google's.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        # TensorStore refuses keys with `.` or `..` in them.
        return {"driver": "file", "path": os.path.abspath(path).rstrip("/") + "/"}
    bucket, _, key = rest.partition("/")
    place = {"bucket": bucket, "path": key.strip("/") + "/" if key.strip("/") else ""}
    if scheme == "gs":
        return {"driver": "gcs", **place, "gcs_request_retries": _RETRIES}
    if scheme == "s3":
        found = {"driver": "s3", **place, "s3_request_retries": _RETRIES}
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if endpoint:
            # Such a service has no region of its own to ask for, and signs with any.
            return found | {"endpoint": endpoint, "aws_region": region or "us-east-1"}
        return found
    if scheme == "memory":
        return {"driver": "memory", "path": rest.rstrip("/") + "/"}
    raise ValueError(f"{path} lies in a store that is not known: {scheme}://")


def open_store(path: str) -> ts.KvStore:
    """The key-value store below `path`."""
    return ts.KvStore.open(spec(path), context=_context()).result()


@functools.cache
def _context() -> ts.Context:
    """What all stores of this process share: connections, and the store in memory."""
    return ts.Context()
