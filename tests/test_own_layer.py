"""The section on adding a layer: followed in a copy of the project, with an activation."""

import re

import pytest

from tests.project import Project, stages_run
from tests.readme import section

pytestmark = pytest.mark.slow

ACTIVATION = '''

class SiLU(Module):
    """x σ(x), with the derivative σ + x σ (1 − σ) (Elfwing et al. 2018)."""

    def forward(self, x: Array) -> Array:
        self._x = x
        self._sigmoid: Array = 1 / (1 + np.exp(np.clip(-x, None, 80)))
        return x * self._sigmoid

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * self._sigmoid * (1 + self._x * (1 - self._sigmoid))
'''
EDITS = {
    "stages/engines/scratch/activations.py": ("\n\nclass GELU(", ACTIVATION + "\n\nclass GELU("),
    "stages/engines/scratch/nn.py": ("GELU, LeakyReLU, ReLU, Sigmoid", "GELU, LeakyReLU, ReLU, SiLU, Sigmoid"),
    "stages/engines/network.py": ('"gelu": "GELU"', '"gelu": "GELU", "silu": "SiLU"'),
    "stages/engines/config.py": ('"tanh", "gelu"]', '"tanh", "gelu", "silu"]'),
}
COMPARE = """
import numpy, torch
from stages.engines.scratch import nn
from tests.engines.scratch.against_torch import assert_layer_agrees
assert_layer_agrees(nn.SiLU(), torch.nn.SiLU(), numpy.random.default_rng(0).normal(size=(9, 9)), 1)
"""


def test_an_activation_is_added_by_the_four_edits_and_neither_fetch_nor_preprocess_runs_again(project: Project) -> None:
    named = re.findall(r"^\d\. \[`(.+?)`\]", section("stages/README.md", "Add a layer"), re.MULTILINE)
    assert named == list(EDITS)
    for name, (old, new) in EDITS.items():
        text = project.read(name).decode()
        assert text.count(old) == 1
        (project.folder / name).write_text(text.replace(old, new), encoding="utf-8")
    project.set({"network.activation": "silu"})
    project.run("python", "-c", COMPARE)
    ran = stages_run(project.dvc("repro"))
    assert {"train_torch", "train_scratch"} <= set(ran)
    assert not {"fetch", "preprocess"} & set(ran)
