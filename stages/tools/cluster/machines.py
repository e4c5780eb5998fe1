"""Whether all machines of a cluster give the same bytes as this one."""

from collections.abc import Iterable
from importlib.util import find_spec

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stages.pipeline.arithmetic import KERNELS, THREADS_AND_PRECISION, can_pin
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.errors import first_line
from stages.tools.cluster.node import Environment, differences, environment
from stages.tools.cluster.room import alive, name_of

PACKAGES = ("numpy", "pydantic", "ruamel.yaml", "threadpoolctl", "tqdm")  # what the bytes depend on or the code needs
ANSWER_SECONDS = 120  # for a machine to start a process, and to get the code


def wanted_environment(engines: Iterable[str], arithmetic: str) -> Environment:
    """What every machine must have to give the bytes that this one would. Raises PipelineError for what is not here."""
    packages = (*PACKAGES, *(["torch"] if "torch" in engines else []))
    for name in packages:
        if not find_spec(name):
            raise PipelineError(f"{name} is not installed here: make .venv/installed brings all packages")
    pinned = KERNELS if arithmetic == "portable" and can_pin() else {}
    return environment(packages)._replace(variables=THREADS_AND_PRECISION | pinned)


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
