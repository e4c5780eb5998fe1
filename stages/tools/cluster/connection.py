"""The connection to a Ray cluster: to one at an address, or to this machine as a cluster of one."""

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import grpc
import ray
from ray.exceptions import RayError

import stages
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.errors import first_line
from stages.tools.cluster.machines import check_machines
from stages.tools.cluster.node import Environment

CONNECT_SECONDS = 5


@contextmanager
def cluster(address: str | None, wanted: Environment) -> Iterator[None]:
    """Connect to a cluster, or start one of this machine's cores, for as long as the context lasts.

    Raises PipelineError with one line where there is none at the address, or a machine of it differs.
    """
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_COLOR_PREFIX="0")
    variables = {name: value for name, value in wanted.variables.items() if value is not None}
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": allowed_cores()}
    if address:
        check_reachable(address)
        options = {}
    with warnings.catch_warnings(action="ignore"), held_back_errors() as held_back:
        try:
            ray.init(
                address or "local",
                runtime_env={
                    "py_modules": [str(Path(stages.__file__).parent)],
                    "excludes": ["**/__pycache__", "*.gif", "*.md"],
                    "env_vars": variables,
                },
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        except (OSError, RuntimeError, ValueError, RayError) as error:
            held_back.seek(0)
            reason = held_back.read().splitlines()[-1:]
            raise PipelineError(": ".join([address or "Ray", first_line(error), *reason])) from None
    try:
        check_machines(wanted)
        yield
    finally:
        ray.shutdown()


@contextmanager
def held_back_errors() -> Iterator[IO[str]]:
    """Let go into a file what is written to stderr: by Ray's C++ part, a line for each time that it tries again."""
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(before, 2)
            os.close(before)


def allowed_cores() -> int | None:
    """How many cores this process may use, where that is fewer than there are; else Ray finds out by itself."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or 1) else None


def check_reachable(address: str) -> None:
    """Raise PipelineError unless a gRPC server answers there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise PipelineError(f"ADDRESS: must be HOST:PORT, ray://HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise PipelineError(f"no Ray cluster answers at {address}: {error}") from None
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise PipelineError(f"no Ray cluster answers at {address}: something else listens there") from None
