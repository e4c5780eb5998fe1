"""params.yaml: every fault stops with one line that names the key, the value and what is allowed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from tests.imports import ROOT

COMMITTED = Path("params.yaml").read_text(encoding="utf-8")


def fault(tmp_path: Path, content: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PipelineError) as caught:
        load_config(path)
    return str(caught.value).replace(str(path), path.name)


def test_the_committed_file_is_valid_and_says_what_it_says() -> None:
    parameters = load_config()
    assert parameters.train_torch.hidden == [512, 256]
    assert parameters.train_scratch.hidden == [128, 64]


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("learning_rate: 0.003", "learning_rate: -0.1", "train_torch.learning_rate: must be > 0, got -0.1"),
        ("learning_rate: 0.003", "learning_rate: 0", "train_torch.learning_rate: must be > 0, got 0"),
        (
            "learning_rate: 0.003",
            "learning_rate: 3e-3",
            "train_torch.learning_rate: must be a number, got '3e-3' (text in YAML: write 0.003)",
        ),
        ("learning_rate: 0.003", "learning_rate: .nan", "train_torch.learning_rate: must be a finite number, got nan"),
        ("learning_rate: 0.003", "learning_rate: .inf", "train_torch.learning_rate: must be a finite number, got inf"),
        ("warmup: 0.2", "warmup: 1.5", "train_torch.warmup: must be <= 1, got 1.5"),
        ("epochs: 10", "epochs: 2.5", "train_torch.epochs: must be a whole number, got 2.5"),
        ("epochs: 10", "epochs: true", "train_torch.epochs: must be a whole number, got true"),
        ("batch_size: 64", "batch_size: 0", "train_torch.batch_size: must be >= 1, got 0"),
        ("    - 512\n", "    - many\n", "train_torch.hidden.0: must be a whole number, got 'many'"),
        ("dataset: MNIST", "dataset: SVHN", "fetch.dataset: must be one of MNIST, FashionMNIST or KMNIST, got 'SVHN'"),
        ("  device: auto ", "  device: null ", "train_torch.device: must be one of auto, cuda, mps or cpu, got null"),
        ("  device: auto ", "# ", "train_torch.device: missing; it must be given"),
        ("seed: 1", "seed: 1\nseed: 2", 'params.yaml: not valid YAML: seed stands twice in "params.yaml", line 5, col'),
        (
            "    - torchvision\n",
            "    - directory\n",
            "fetch.directory: must name a folder when sources lists `directory`, got null",
        ),
    ],
)
def test_a_fault_is_named_with_its_value_and_what_is_allowed(
    tmp_path: Path, line: str, replacement: str, message: str
) -> None:
    assert line in COMMITTED
    assert fault(tmp_path, COMMITTED.replace(line, replacement, 1)).startswith(message)


def test_a_misspelt_key_is_named_before_the_key_that_it_leaves_missing(tmp_path: Path) -> None:
    message = fault(tmp_path, COMMITTED.replace("validation_size:", "validation_sizes:"))
    assert message == "preprocess.validation_sizes: unknown key, got 5000; the keys here are validation_size"


@pytest.mark.parametrize("content", ["", "a: [", "[1, 2]", "text", "\0"])
def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path, content: str) -> None:
    assert "\n" not in fault(tmp_path, content)


SECTION = COMMITTED.partition("\ntrain_scratch:")[2]
KEYS = "seed, fetch, preprocess, train_torch, train_scratch, train_jax"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (f"train_jax:{SECTION}", "train_jax learns for 10 epochs\n"),
        ("", "error: train_jax: missing; it must be given\n"),
        ("train_jaxs: 1", f"error: train_jaxs: unknown key, got 1; the keys here are {KEYS}\n"),
        (
            f"train_jax:{SECTION.replace('momentum: 0.9', 'momentum: 2.0')}",
            "error: train_jax.momentum: must be < 1, got 2.0\n",
        ),
    ],
    ids=["given", "missing", "misspelt", "out of range"],
)
def test_a_further_engine_has_a_section_because_its_stage_exists(tmp_path: Path, added: str, expected: str) -> None:
    shutil.copytree(
        ROOT / "stages/pipeline", tmp_path / "stages/pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "stages/__init__.py", tmp_path / "stages")
    (tmp_path / "params.yaml").write_text(f"{COMMITTED}\n{added}", encoding="utf-8")
    (tmp_path / "stages/train_jax.py").write_text(
        """from stages.pipeline.params import load_config
from stages.pipeline.stage import run

def main():
    print("train_jax learns for", load_config().training("jax").epochs, "epochs")

run(main)
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "stages.train_jax"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.stdout == expected
