"""What the machines of a cluster have room for, where machines may come and go."""

from collections.abc import Mapping
from typing import Any

import ray

from stages.engines.config import EngineConfig
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.training import Worker

MAX_LOSSES = 3  # of machines under one training
WAIT_SECONDS = 1.0  # after which Ctrl-C is heard, and room looked for again


class Room:
    """The cores and GPUs of the machines that are there, and of those that have been."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def slots(self, config: EngineConfig) -> int:
        """How many trainings the machines that are there can do at a time."""
        return sum(_fit(machine, config) for machine in self._machines())

    def check(self, config: EngineConfig) -> None:
        """Raise PipelineError for a training that no machine has been able to do, unless there was no machine yet."""
        if getattr(config, "device", "cpu") == "auto":
            raise PipelineError("torch.device: must be cpu or cuda, because auto differs between machines")
        self._machines()
        if self._seen and not any(_fit(machine, config) for machine in self._seen):
            cores, gpus = resources(config).values()
            raise PipelineError(
                f"no machine has {cores} CPU cores{' and a GPU' if gpus else ''}, "
                "which a training takes: lower threads, or use another device"
            )

    def _machines(self) -> list[tuple[int, int]]:
        found = [(int(node["Resources"]["CPU"]), int(node["Resources"].get("GPU", 0))) for node in alive()]
        self._seen.update(found)
        return found


def _fit(machine: tuple[int, int], config: EngineConfig) -> int:
    needed = resources(config).values()
    return min(there // taken for there, taken in zip(machine, needed, strict=True) if taken)


def resources(config: EngineConfig) -> dict[str, int]:
    """What a training takes of a machine."""
    return {"num_cpus": config.threads, "num_gpus": int(getattr(config, "device", "cpu") == "cuda")}


def new_worker(config: EngineConfig) -> Any:
    """Return a new actor, on the machine with most room. Of its own accord, it is not started again."""
    return ray.remote(**resources(config), max_restarts=0, scheduling_strategy="SPREAD")(Worker).remote()


def alive() -> list[dict[str, Any]]:
    """The machines that can train, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def name_of(node: Mapping[str, Any]) -> str:
    """The name that :func:`stages.tools.cluster.training.machine` gives there."""
    return f"{node['NodeManagerAddress']}/{node['NodeID'][:6]}"
