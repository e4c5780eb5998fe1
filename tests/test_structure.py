"""The house keeps its shape: arrows run one way, dvc.yaml knows the code, and nobody imports what is not declared."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.engines.scratch_engine import ScratchClassifier
from stages.pipeline.files import write_bytes
from tests.imports import ROOT, imported, loaded, path_of

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "stages").rglob("*.py"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def stage_commands() -> dict[str, tuple[str, list[str]]]:
    """Each stage's command and dependencies, those of a foreach one by one."""
    stages = {}
    for name, stage in DVC["stages"].items():
        for key, item in stage.get("foreach", {"": {}}).items():
            text = json.dumps(stage.get("do", stage)).replace("${key}", key)
            text = re.sub(r"\$\{item\.(\w+)\}", lambda match, item=item: item[match[1]], text)  # type: ignore[misc]  # bound now
            entry = json.loads(text)
            stages[f"{name}@{key}" if key else name] = (entry["cmd"], entry["deps"])
    return stages


@pytest.mark.parametrize("name", stage_commands())
def test_dvc_yaml_lists_exactly_the_code_that_the_stage_loads(name: str) -> None:
    command, dependencies = stage_commands()[name]
    module = command.split()[3]
    code = loaded(Path(*module.split(".")).with_suffix(".py"))
    assert {path for path in dependencies if path.startswith("stages")} == {path.as_posix() for path in code}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_arrows_run_from_stages_to_engines_to_pipeline(path: Path) -> None:
    modules = {module for module in imported(path) if module.startswith("stages.") and path_of(module)}
    shared = {
        "pipeline": ("stages.pipeline",),
        "sources": ("stages.pipeline", "stages.data"),
        "pictures": ("stages.pipeline", "stages.evaluation.figures"),
        "scratch": ("stages.engines.scratch",),
        "tools": ("stages.",),
    }
    engine = (f"stages.{path.parts[1]}", "stages.pipeline") if len(path.parts) > 2 else ("stages.",)
    allowed = shared.get(path.parts[1], engine)
    assert not {module for module in modules if not module.startswith(allowed)}


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[1] == "scratch"], ids=str)
def test_the_scratch_library_imports_numpy_and_the_standard_library_alone(path: Path) -> None:
    foreign = {module.split(".")[0] for module in imported(path)} - {"stages", "numpy"}
    assert foreign <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "code",
    [
        "import stages.train_scratch",
        "import stages.compare",
        "from stages.engines import load; load('scratch')",
    ],
)
def test_torch_is_not_loaded_where_it_is_not_used(code: str, tmp_path: Path) -> None:
    model = ScratchClassifier([16], np.random.default_rng(0)).to_bytes()
    write_bytes(tmp_path / "models/scratch/model.npz", model)
    code = f"{code}; import sys; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment).returncode == 0


def test_nothing_is_imported_that_pyproject_does_not_declare() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {name.lower().replace("-", "_") for name in project["dependencies"]}
    declared = (
        names | {"stages", "yaml", "vl_convert"} | {"PIL", "pydantic_core", "urllib3"}
    )  # the last three come with the others
    used = {module.split(".")[0] for path in FILES for module in imported(path)}
    assert used - declared <= sys.stdlib_module_names


def test_torchvision_belongs_to_the_installed_torch() -> None:
    """A torchvision of another build imports only in part: its compiled operators are then missing."""
    code = "import torch, torchvision; torch.ops.torchvision.nms"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_top_level_holds_what_the_readme_lists_and_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {Path(name).parts[0] for name in tracked}
    files = {"README.md", "pyproject.toml", "constraints.txt", "Makefile", "dvc.yaml", "dvc.lock", "params.yaml"}
    folders = {"stages", "data", "metrics", "plots", "tests"}
    assert {name for name in top if not name.startswith(".")} == files | folders
