"""Imports run one way, dvc.yaml knows the code that its stages load, and all that is imported is declared."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

from stages.tools.preflight import in_git
from tests.imports import ROOT, imported, path_of
from tests.project import Project

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "stages").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DVC = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")


def stage_dependencies() -> dict[str, list[str]]:
    """The dependencies of each stage, those of a foreach one by one."""
    stages = {}
    for name, stage in DVC["stages"].items():
        for key, item in stage.get("foreach", {"": {}}).items():
            text = json.dumps(stage.get("do", stage).get("deps", []))
            text = re.sub(r"\$\{item\.(\w+)\}", lambda match, item=item: item[match[1]], text)  # type: ignore[misc]  # bound now
            stages[f"{name}@{key}" if key else name] = json.loads(text.replace("${key}", key))
    return stages


STAGES = stage_dependencies()


@pytest.fixture(scope="module")
def records(finished: Project) -> dict[str, Any]:
    """What each stage loaded and read in the real `dvc repro`, as the recorder saw it."""
    folder = finished.folder.parent / "records"
    return {name: json.loads((folder / f"{name}.json").read_bytes()) for name in STAGES}


def lies_under(path: str, dependency: str) -> bool:
    return path == dependency or path.startswith(f"{dependency}/")


def assert_equal_sets(used: list[str], dependencies: list[str]) -> None:
    """Everything used lies under a dependency, and under every dependency lies something used."""
    undeclared = [path for path in used if not any(lies_under(path, each) for each in dependencies)]
    superfluous = [each for each in dependencies if not any(lies_under(path, each) for path in used)]
    assert (undeclared, superfluous) == ([], [])


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_that_a_stage_loads_is_what_dvc_yaml_lists(records: dict[str, Any], stage: str) -> None:
    code = [path for path in records[stage]["code"] if path.startswith("stages/")]
    assert len(code) > 5
    assert_equal_sets(code, [path for path in STAGES[stage] if path.startswith("stages")])


@pytest.mark.parametrize("stage", STAGES)
def test_the_files_that_a_stage_reads_are_what_dvc_yaml_lists(records: dict[str, Any], stage: str) -> None:
    """And training never opens the test split, nor comparing a model, nor fetching one's own files to draw digits."""
    files = [path for path in STAGES[stage] if not path.startswith(("stages", "${fetch.directory}"))]
    assert_equal_sets(records[stage]["read"], files)
    assert not stage.startswith("train") or not [path for path in records[stage]["read"] if "test" in path]


def test_torch_is_loaded_where_it_is_used_and_nowhere_else(records: dict[str, Any]) -> None:
    users = {stage for stage, record in records.items() if "torch" in record["modules"]}
    assert users == {"train_torch", "evaluate@torch", "parity"}


# Who may import whom; what stands directly in stages/ may import all of these, and tools everything.
LIBRARY = {"training", "evaluation", "data", "engines", "pipeline"}
ALLOWED_IMPORTS = {
    "pipeline": {"pipeline"},
    "engines": {"engines", "pipeline"},
    "training": {"training", "engines", "pipeline"},
    "evaluation": {"evaluation", "engines", "pipeline"},
    "data": {"data", "engines", "pipeline"},
}


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[1] != "tools"], ids=str)
def test_imports_run_one_way(path: Path) -> None:
    modules = {module for module in imported(path) if module.startswith("stages.") and path_of(module)}
    assert {module.split(".")[1] for module in modules} <= ALLOWED_IMPORTS.get(path.parts[1], LIBRARY)
    if path.is_relative_to("stages/engines/scratch"):
        assert all(module.startswith("stages.engines.scratch") for module in modules)


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to("stages/engines/scratch")], ids=str)
def test_the_numpy_library_imports_numpy_and_the_standard_library_alone(path: Path) -> None:
    foreign = {module.split(".")[0] for module in imported(path)} - {"stages", "numpy"}
    assert foreign <= sys.stdlib_module_names


def test_importing_the_numpy_library_loads_numpy_and_the_standard_library_alone() -> None:
    """Also by way of the packages in which it lies."""
    code = (
        "import numpy.random, sys; before = set(sys.modules); import stages.engines.scratch.nn;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"numpy"} - sys.stdlib_module_names == {"stages"}


def test_nothing_is_imported_that_pyproject_does_not_declare() -> None:
    names = {
        re.split(r"[.\[]", name.lower().replace("-", "_"))[0]
        for name in PROJECT["dependencies"] + [name for extra in ("torch", "export", "sweep") for name in EXTRAS[extra]]
    }
    declared = names | {
        "stages",
        "vl_convert",
        "PIL",  # pillow's
        "pydantic_core",  # this and what follows come with others
        "urllib3",
        "grpc",  # with ray[client]
    }
    used = {module.split(".")[0] for path in FILES for module in imported(path)}
    assert used - declared <= sys.stdlib_module_names


def test_every_pinned_release_takes_the_oldest_python_that_pyproject_allows() -> None:
    """Also its first patch release: Debian 12 has 3.11.2, and with an unsuitable pin pip fails after minutes."""
    oldest = f"{PROJECT['requires-python'].removeprefix('>=').split(',')[0]}.0"
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pinned = [each for each in distributions() if pins.get(each.name) == each.version]
    assert len(pinned) > len(pins) / 2
    assert [
        each.name for each in pinned if not SpecifierSet(each.metadata["Requires-Python"] or "").contains(oldest)
    ] == []


def test_torchvision_belongs_to_the_installed_torch() -> None:
    """A torchvision of another build imports only in part: its compiled operators are then missing."""
    code = "import torch, torchvision; torch.ops.torchvision.nms"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not in_git(ROOT), reason="an unpacked archive has no list of its files")
def test_the_top_level_holds_what_the_readme_lists_and_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {Path(name).parts[0] for name in tracked}
    files = {
        "README.md",
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "dvc.yaml",
        "dvc.lock",
        "params.yaml",
        "sweep.yaml",
    }
    folders = {"stages", "data", "metrics", "plots", "tests"}
    hidden = {".ci", ".devcontainer", ".dvc", ".dvcignore", ".editorconfig", ".gitattributes", ".github", ".gitignore"}
    assert files | folders <= top <= files | folders | hidden
