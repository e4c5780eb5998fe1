"""The README's section on a third engine: followed in a copy of the project, with a softmax regression in NumPy."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project import Project, copy_project
from tests.readme import README

pytestmark = pytest.mark.slow

CLASSIFIER = '''"""One layer of ten units: softmax regression by gradient descent."""

import io
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from stages.pipeline.classifier import CLASSES, Images, Labels, Probabilities

PIXELS = 784


class SoftmaxClassifier:
    """The smallest engine: what ``Classifier`` asks for, and of the parameters the learning rate alone."""

    def __init__(self) -> None:
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
'''
READER = '''
def read_softmax(content: bytes) -> Classifier:
    """Read the softmax regression."""
    from stages.softmax.classifier import SoftmaxClassifier

    return SoftmaxClassifier.from_bytes(content)


ENGINES = {'''
ENTRY = '    "softmax": Engine(Path("models/softmax/model.npz"), read_softmax),\n}\n'
NEW = ("stages/softmax/__init__.py", "stages/softmax/classifier.py", "stages/train_softmax.py")
MADE = ("data/", "metrics/", "plots/", "dvc.lock")


def files_to_change() -> list[str]:
    """The files that the README's section numbers."""
    _, _, rest = README.partition("\n## Adding a third engine\n")
    return re.findall(r"^\d\. \[(.+?)\]\(\1\):", rest.partition("\n## ")[0], re.MULTILINE)


def add_section(text: str) -> str:
    """A section of the scratch engine's values; a regression of pixels needs a larger learning rate."""
    section = text.partition("\ntrain_scratch:")[2]
    return f"{text}\ntrain_softmax:{section.replace('learning_rate: 0.003', 'learning_rate: 0.02')}"


def add_stages(text: str) -> str:
    """Everything of dvc.yaml that names scratch, once more with softmax."""
    dvc = yaml.safe_load(text)
    stages, code = dvc["stages"], [name for name in NEW if "/softmax/" in name]
    train = stages["train_softmax"] = renamed(stages["train_scratch"])
    train["deps"] = [path for path in train["deps"] if "/softmax/" not in path] + code
    stages["evaluate"]["foreach"]["softmax"] = renamed(stages["evaluate"]["foreach"]["scratch"])
    stages["evaluate"]["do"]["deps"] += code
    made = [path for path in stages["plot"]["deps"] if "scratch" in path and not path.startswith("stages/")]
    stages["plot"]["deps"] += code + renamed(made)
    for chart in (chart for entry in dvc["plots"] if isinstance(entry, dict) for chart in entry.values()):
        if len(chart["y"]) > 1:
            chart["y"] |= renamed({file: column for file, column in chart["y"].items() if "scratch" in file})
    return yaml.safe_dump(dvc, sort_keys=False)


def renamed(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("scratch", "softmax"))


def add_entry(text: str) -> str:
    before, start, after = text.partition("\nENGINES = {")
    assert start
    return before + READER + after.replace("}\n", ENTRY, 1)


def train_stage(scratch: str) -> str:
    """stages/train_scratch.py with other names, and none of the parameters that this engine does not know."""
    text = scratch.replace("parameters.train_scratch", 'parameters.training("softmax")')
    text = re.sub(r"ScratchClassifier\(.*?\n    \)", "SoftmaxClassifier()", text, flags=re.DOTALL)
    text = text.replace("classifier.blas_threads", "settings.threads")
    return text.replace("scratch", "softmax").replace("ScratchClassifier", "SoftmaxClassifier")


EDITS: dict[str, Callable[[str], str]] = {
    "params.yaml": add_section,
    "dvc.yaml": add_stages,
    "stages/evaluate.py": add_entry,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after the edits and `dvc repro`, not committed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    project.set({"train_scratch.epochs": "2"})
    project.commit("Two epochs")

    def write(name: str, content: str) -> None:
        path: Path = project.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")

    contents = ('"""An engine."""\n', CLASSIFIER, train_stage(project.read("stages/train_scratch.py").decode()))
    for name, content in zip(NEW, contents, strict=True):
        write(name, content)
    for name in files_to_change():
        write(name, EDITS[name](project.read(name).decode()))
    project.dvc("repro")
    return project


def test_the_readme_names_three_files_and_no_other_has_to_change(project: Project) -> None:
    assert sorted(files_to_change()) == sorted(EDITS)
    status = project.run("git", "status", "--porcelain", "--untracked-files=all").stdout.splitlines()
    code = {line[3:]: line[:2] for line in status if not line[3:].startswith(MADE)}
    assert code == {**dict.fromkeys(EDITS, " M"), **dict.fromkeys(NEW, "??")}


def test_the_engine_has_learnt(project: Project) -> None:
    metrics = json.loads(project.read("metrics/softmax.json"))
    assert metrics["parameters"] == 7840
    assert metrics["accuracy_low"] > 0.2  # guessing gives 0.1
    assert len(project.read("plots/softmax/history.csv").splitlines()) == 3


def test_the_charts_show_it(project: Project) -> None:
    charts = json.loads(project.dvc("plots", "show", "--json"))
    text = json.dumps(charts)
    assert "softmax/history.csv" in text
    assert "softmax/classes.csv" in text


def test_dvc_yaml_lists_its_code_and_arrows_run_one_way(project: Project) -> None:
    """Both tests of the structure, as they stand, in the project with three engines."""
    project.run("python", "-m", "pytest", "-q", "tests/test_structure.py", "-k", "dvc_yaml or arrows")
