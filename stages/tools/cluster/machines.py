"""The machines that train: a Ray cluster at an address, or this machine as a cluster of one."""

import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import stages
from stages.engines.config import EngineConfig
from stages.pipeline.arithmetic import KERNELS, THREADS_AND_PRECISION, can_pin
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.node import Environment, differences, environment
from stages.tools.cluster.training import Worker

PACKAGES = ("numpy", "pydantic", "ruamel.yaml", "threadpoolctl", "tqdm")  # what the bytes depend on or the code needs
ANSWER_SECONDS = 120  # for a machine to start a process, and to get the code
CONNECT_SECONDS = 5
MAX_LOSSES = 3  # of machines under one training
WAIT_SECONDS = 1.0  # after which Ctrl-C is heard, and room looked for again, as machines come and go


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
    options: dict[str, Any] = {"include_dashboard": False}
    if address:
        check_reachable(address)
        options = {}
    try:
        with warnings.catch_warnings(action="ignore"):
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
        raise PipelineError(f"{address or 'Ray'}: {first_line(error)}") from None
    try:
        check_machines(wanted)
        yield
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """Raise PipelineError unless something listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise PipelineError(f"ADDRESS: must be HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise PipelineError(f"no Ray cluster answers at {address}: {error}") from None


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


def first_line(error: Exception) -> str:
    """The beginning of a message of Ray's, which can be long."""
    return " ".join(str(error).split())[:300]


def alive() -> list[dict[str, Any]]:
    """The machines that can train, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def name_of(node: Mapping[str, Any]) -> str:
    """The name that :func:`stages.tools.cluster.training.machine` gives there."""
    return f"{node['NodeManagerAddress']}/{node['NodeID'][:6]}"


def resources(config: EngineConfig) -> dict[str, int]:
    """What a training takes of a machine."""
    return {"num_cpus": config.threads, "num_gpus": int(getattr(config, "device", "cpu") == "cuda")}


def slots(config: EngineConfig) -> int:
    """How many trainings the machines have room for at a time. Raises PipelineError where none has room for one."""
    cpus, gpus = resources(config).values()
    machines = [node["Resources"] for node in alive()]
    count = sum(int(min(node["CPU"] // cpus, node.get("GPU", 0) // gpus if gpus else node["CPU"])) for node in machines)
    if not count:
        needed = f"{cpus} CPU cores{' and a GPU' if gpus else ''}"
        raise PipelineError(f"no machine has {needed}, which a training takes: lower threads, or use another device")
    return count


def new_worker(config: EngineConfig) -> Any:
    """Return a new actor, on the machine with most room. Of its own accord, it is not started again."""
    return ray.remote(**resources(config), max_restarts=0, scheduling_strategy="SPREAD")(Worker).remote()
