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
IN_JAVASCRIPT = """/** x σ(x), with the derivative σ + x σ (1 − σ). */
class SiLU extends Activation {
    f(x) {
        return x / (1 + Math.exp(-x));
    }

    derivative(x) {
        const sigmoid = 1 / (1 + Math.exp(-x));
        return sigmoid * (1 + x * (1 - sigmoid));
    }
}

"""
LAYER_CLASSES = """/** What a network's description may name: an added layer's class belongs here too. */
const LAYER_CLASSES = {
    """
EDITS = {
    "stages/engines/scratch/activations.py": ("\n\nclass GELU(", ACTIVATION + "\n\nclass GELU("),
    "stages/engines/scratch/nn.py": ("GELU, LeakyReLU, ReLU, Sigmoid", "GELU, LeakyReLU, ReLU, SiLU, Sigmoid"),
    "stages/engines/network.py": ('"gelu": "GELU"', '"gelu": "GELU", "silu": "SiLU"'),
    "stages/engines/config.py": ('"tanh", "gelu"]', '"tanh", "gelu", "silu"]'),
    "stages/tools/draw/web/nn.js": (LAYER_CLASSES, f"{IN_JAVASCRIPT}{LAYER_CLASSES}SiLU, "),
}
COMPARE = """
import numpy, torch
from stages.engines.scratch import nn
from tests.engines.scratch.against_torch import assert_layer_agrees
assert_layer_agrees(nn.SiLU(), torch.nn.SiLU(), numpy.random.default_rng(0).normal(size=(9, 9)), 1)
"""


DESCRIBE = """
from stages.engines import load
from stages.tools.commands import start
from stages.tools.draw.models import describe
start(lambda: print(*[each["type"] for each in describe("scratch", load("scratch"))["layers"]]))
"""


def test_an_activation_is_added_by_the_five_edits_and_neither_fetch_nor_preprocess_runs_again(project: Project) -> None:
    named = re.findall(r"^\d\. \[`(.+?)`\]", section("stages/README.md", "Add a layer"), re.MULTILINE)
    assert named == list(EDITS)
    *for_training, for_drawing = EDITS
    for name in for_training:
        edit(project, name)
    project.set({"network.activation": "silu"})
    project.run("python", "-c", COMPARE)
    ran = stages_run(project.dvc("repro"))
    assert {"train_torch", "train_scratch"} <= set(ran)
    assert not {"fetch", "preprocess"} & set(ran)

    undrawn = project.run("python", "-c", DESCRIBE, check=False)
    assert undrawn.returncode == 1
    assert undrawn.stdout == f"error: {for_drawing}: has no SiLU; add a class, and its name in LAYER_CLASSES\n"
    edit(project, for_drawing)
    assert "SiLU" in project.run("python", "-c", DESCRIBE).stdout


def edit(project: Project, name: str) -> None:
    """Make the edit of one file."""
    text, (old, new) = project.read(name).decode(), EDITS[name]
    assert text.count(old) == 1
    (project.folder / name).write_text(text.replace(old, new), encoding="utf-8")
