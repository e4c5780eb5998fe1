"""The section on adding an engine: followed in a copy of the project, with a softmax regression in NumPy."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.project import Project, copy_project
from tests.readme import section

pytestmark = pytest.mark.slow

ENGINE = '''"""One layer of ten units: softmax regression by gradient descent."""

import io
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from stages.pipeline.classifier import CLASSES, UNSTANDARDIZED, Images, Labels, Probabilities, Standardization

PIXELS = 784


class SoftmaxClassifier:
    """The smallest engine: what ``Classifier`` asks for, and of the config the learning rate alone."""

    def __init__(self, standardization: Standardization = UNSTANDARDIZED) -> None:
        self.standardization = standardization
        self.weight = np.zeros((CLASSES, PIXELS), np.float32)

    def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
        errors = self.predict(images)
        likelihood = errors[np.arange(len(labels)), labels]
        loss = float(-np.log(likelihood).mean())
        errors[np.arange(len(labels)), labels] -= 1
        self.weight -= learning_rate * errors.T @ images.reshape(-1, PIXELS) / len(labels)
        return loss

    def predict(self, images: Images) -> Probabilities:
        logits = images.reshape(-1, PIXELS) @ self.weight.T
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)

    def parameter_count(self) -> int:
        return self.weight.size

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        return {"1.weight": self.weight.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        if state.keys() != {"1.weight"} or state["1.weight"].shape != self.weight.shape:
            raise ValueError("not a model of this engine")
        self.weight[...] = state["1.weight"]

    training_state, load_training_state = state_dict, load_state_dict

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, self.weight, allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        classifier = cls()
        classifier.load_state_dict({"1.weight": np.load(io.BytesIO(content), allow_pickle=False)})
        return classifier


CLASSIFIER = SoftmaxClassifier


def make(config: object, generators: object, standardization: Standardization, dtype: str) -> SoftmaxClassifier:
    return SoftmaxClassifier(standardization)
'''
NEW = "stages/engines/softmax_engine.py"
MADE = ("data/", "metrics/", "plots/", "dvc.lock")


def files_to_change() -> list[str]:
    """The files that the section numbers."""
    return re.findall(r"^\d\. \[`(.+?)`\]", section("stages/README.md", "Add an engine"), re.MULTILINE)


def add_section(text: str) -> str:
    """A regression of pixels needs a larger learning rate."""
    return f"{text}softmax:\n  threads: 1\n  optimizer:\n    learning_rate: 0.02\n"


def add_field(text: str) -> str:
    return text.replace("    scratch: EngineConfig\n", "    scratch: EngineConfig\n    softmax: EngineConfig\n")


def add_entry(text: str) -> str:
    entry = '    "scratch": Path("models/scratch/model.npz"),\n'
    return text.replace(entry, entry + '    "softmax": Path("models/softmax/model.npy"),\n')


def add_stages(text: str) -> str:
    """Everything of dvc.yaml that names scratch, once more with softmax."""
    yaml = YAML(typ="safe", pure=True)
    dvc = yaml.load(text)
    stages = dvc["stages"]
    train = stages["train_softmax"] = renamed(stages["train_scratch"])
    train["deps"].remove("stages/engines/softmax")  # the NumPy library, which this engine does not use
    stages["evaluate"]["foreach"]["softmax"] = renamed(stages["evaluate"]["foreach"]["scratch"])
    stages["plot"]["deps"] += renamed([path for path in stages["plot"]["deps"] if "scratch" in path])
    for chart in (chart for entry in dvc["plots"] for chart in entry.values()):
        chart["y"] |= renamed({file: column for file, column in chart["y"].items() if "scratch" in file})
    written = io.StringIO()
    yaml.dump(dvc, written)
    return written.getvalue()


def renamed(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("scratch", "softmax").replace("model.npz", "model.npy"))


EDITS: dict[str, Callable[[str], str]] = {
    "params.yaml": add_section,
    "stages/engines/config.py": add_field,
    "stages/engines/__init__.py": add_entry,
    "dvc.yaml": add_stages,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after the edits and `dvc repro`, not committed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    project.set({"training.epochs": "2"})
    project.commit("Two epochs")
    (project.folder / NEW).write_text(ENGINE, encoding="utf-8")
    for name in files_to_change():
        (project.folder / name).write_text(EDITS[name](project.read(name).decode()), encoding="utf-8")
    project.dvc("repro")
    return project


def test_the_section_names_four_files_and_no_other_has_to_change(project: Project) -> None:
    assert sorted(files_to_change()) == sorted(EDITS)
    code = {line[3:]: line[:2] for line in project.status().splitlines() if not line[3:].startswith(MADE)}
    assert code == {**dict.fromkeys(EDITS, " M"), NEW: "??"}


def test_the_engine_is_trained_evaluated_and_drawn(project: Project) -> None:
    metrics = project.load_json("metrics/softmax.json")
    assert metrics["parameters"] == 7840
    assert metrics["accuracy_low"] > 0.2  # guessing gives 0.1
    assert len(project.read("plots/softmax/history.csv").splitlines()) == 3
    charts = project.dvc("plots", "show", "--json")
    assert "softmax/history.csv" in charts
    assert "softmax/classes.csv" in charts


def test_a_quick_run_takes_the_untracked_engine_along(project: Project) -> None:
    output = project.run("python", "-m", "stages.tools.quick").stdout
    assert re.search(r"Running stage 'train_softmax':\n.*\n?(.*\n)*?epoch 1/1", output)
    assert re.search(r"^metrics/softmax.json +accuracy +- +[\d.]+", output, re.MULTILINE)


def test_a_misspelled_key_of_its_section_is_named(project: Project) -> None:
    project.set({"softmax.optimizer.learning_rates": "1"})
    output = project.run("python", "-m", "stages.engines.config", check=False).stdout
    assert output.startswith("error: softmax.optimizer.learning_rates: unknown key, got 1; the keys here are name, ")
