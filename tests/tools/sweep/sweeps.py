"""A sweep of seconds, driven as a user drives it."""

import csv
from collections.abc import Mapping

from tests.project import Project

# Each trial's config depends on its number alone, and none is stopped: every order of events must end alike.
SWEEP = """
engine: scratch
trials: 5
minutes: 0
seeds: 2
parallel: 0
sampler: random
pruner: none
grace_epochs: 1
reduction_factor: 2
space:
  optimizer.learning_rate: {low: 0.0001, high: 0.05, log: true}
  network.hidden_sizes: [[16], [8, 8]]
"""
EPOCHS = {"training.epochs": "80"}  # a few seconds
COMMAND = ("python", "-m", "stages.tools.sweep")


def write_sweep(project: Project, content: str) -> None:
    (project.folder / "sweep.yaml").write_text(content)
    project.commit("A sweep")


def sweep(project: Project, *arguments: str, check: bool = True, environment: Mapping[str, str] | None = None) -> str:
    return project.run(*COMMAND, *arguments, check=check, environment=environment).stdout


def table(project: Project) -> list[dict[str, str]]:
    with (project.folder / "sweep/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))
