"""The best trial as a DVC experiment, the only one that meets the test images."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import dvc.api

from stages.engines.config import Config
from stages.pipeline.errors import PipelineError
from stages.tools.commands import run, setting


def run_experiment(engine: str, overrides: Mapping[str, Any], params: Config) -> None:
    """Run the experiment from the workspace as it is, and print the command that does the same."""
    name, command = experiment_name(engine, overrides, params), experiment_command(engine, overrides)
    print(f"the best trial as the experiment {name}, evaluated on the test images:", flush=True)
    print(f"$ {shlex.join(command)}", flush=True)
    run(Path(), "dvc", "exp", "remove", name, stdout=DEVNULL, stderr=DEVNULL)  # of an earlier sweep, if any
    if run(Path(), *command[:3], "--name", name, *command[3:]).returncode:
        raise PipelineError("the experiment failed; its own message stands above")
    accuracy = json.loads(dvc.api.read(f"metrics/{engine}.json", rev=name))["accuracy"]
    print(f"{name}: accuracy {accuracy:.2%} on the test images", flush=True)
    print(f"$ dvc exp apply {name}   # brings it to the workspace", flush=True)


def experiment_name(engine: str, overrides: Mapping[str, Any], params: Config) -> str:
    """The same for the same config."""
    content = [sorted(overrides.items()), params.model_dump()]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"sweep-{engine}-{digest[:6]}"


def experiment_command(engine: str, overrides: Mapping[str, Any]) -> list[str]:
    """``dvc exp run``, apart from the workspace, of all that the engine's evaluation needs."""
    settings = [f"++{engine}.{setting(key, value)}" for key, value in overrides.items()]
    return ["dvc", "exp", "run", "--temp", *(part for each in settings for part in ("-S", each)), f"evaluate@{engine}"]
