"""The machines that train: a Ray cluster at an address, or this machine as a cluster of one."""

import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import grpc
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import stages
from stages.pipeline.arithmetic import KERNELS, THREADS_AND_PRECISION, can_pin
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.node import Environment, differences, environment
from stages.tools.cluster.room import alive, name_of

PACKAGES = ("numpy", "pydantic", "ruamel.yaml", "threadpoolctl", "tqdm")  # what the bytes depend on or the code needs
ANSWER_SECONDS = 120  # for a machine to start a process, and to get the code
CONNECT_SECONDS = 5
MAX_LOSSES = 3  # of machines under one training
WAIT_SECONDS = 1.0  # after which Ctrl-C is heard, and room looked for again


def wanted_environment(engines: Iterable[str], arithmetic: str) -> Environment:
    """What every machine must have to give the bytes that this one would. Raises PipelineError for what is not here."""
    packages = (*PACKAGES, *(["torch"] if "torch" in engines else []))
    for name in packages:
        if not find_spec(name):
            raise PipelineError(f"{name} is not installed here: make .venv/installed brings all packages")
    pinned = KERNELS if arithmetic == "portable" and can_pin() else {}
    return environment(packages)._replace(variables=THREADS_AND_PRECISION | pinned)


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


def check_machines(wanted: Environment) -> None:
    """Raise PipelineError, with a line for each machine that would give other bytes."""
    probe = ray.remote(num_cpus=0, max_retries=0)(environment)
    answers = {
        name_of(node): probe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(tuple(wanted.packages))
        for node in alive()
    }
    lines = []
    for name, answer in answers.items():
        try:
            found = differences(ray.get(answer, timeout=ANSWER_SECONDS), wanted)
        except GetTimeoutError:
            found = [f"gives no answer within {ANSWER_SECONDS} s"]
        except RayError as error:
            is_lost = name not in map(name_of, alive())  # which Ray may notice as late as this
            found = [] if is_lost else [first_line(error)]
        lines += [f"the machine {name} differs: {', '.join(found)}"] if found else []
    if lines:
        raise PipelineError("\nerror: ".join(lines))


def first_line(error: BaseException) -> str:
    """The beginning of a message of Ray's, which can be long."""
    return " ".join(str(error).split())[:300]


def cause_of(error: RayTaskError) -> str:
    """What a worker raised, in one line."""
    cause = error.cause
    if isinstance(cause, PipelineError):
        return str(cause)
    return "out of memory" if isinstance(cause, MemoryError) else f"{type(cause).__name__}: {first_line(cause)}"
