"""Whole trainings on the machines of a cluster, as many at a time as there is room for."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from stages.data.idx import Bytes
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.errors import cause_of, first_line
from stages.tools.cluster.node import Environment
from stages.tools.cluster.room import MAX_LOSSES, WAIT_SECONDS, Room, resources
from stages.tools.cluster.training import Job, Worker
from stages.tools.commands import remembered_interrupts


class Trained(NamedTuple):
    """What comes back of a job: its model file, and where it was trained."""

    name: str
    model: bytes
    machine: str


def train_all(jobs: Mapping[str, Job], wanted: Environment, raw: tuple[Bytes, Bytes]) -> Iterator[Trained]:
    """Yield each job as it ends, in any order. Ray does it again where its machine was lost.

    Raises PipelineError for a training that fails, or that no machine has room for.
    """
    room = Room()
    for job in jobs.values():
        room.check(job.config)
    data = ray.put(raw)
    remote = ray.remote(max_retries=MAX_LOSSES, scheduling_strategy="SPREAD")(train)
    pending: dict[Any, str] = {
        remote.options(**resources(job.config)).remote(job, wanted, data): name for name, job in jobs.items()
    }
    with remembered_interrupts() as check_interrupts:
        while pending:
            done, _ = ray.wait(list(pending), timeout=WAIT_SECONDS)
            check_interrupts()
            for reference in done:
                name = pending.pop(reference)
                try:
                    yield Trained(name, *ray.get(reference))
                except RayTaskError as error:
                    raise PipelineError(f"{name}: {cause_of(error)}") from None
                except RayError as error:
                    raise PipelineError(f"{name}: {first_line(error)}") from None


def train(job: Job, wanted: Environment, raw: tuple[Bytes, Bytes]) -> tuple[bytes, str]:
    """Do one job: this runs on its machine."""
    worker = Worker()
    machine = worker.start(wanted, [job], raw, [b""]).machine
    while not worker.advance()[0].is_finished:
        pass
    return worker.trainings[0].model(), machine
