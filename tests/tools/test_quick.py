"""`make quick`: the workspace's state in a clone of HEAD, run with one epoch, and nothing left of it."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.engines.config import Config
from stages.pipeline.params import load_config
from stages.tools.quick import copy_changes, set_to_one_epoch
from tests.imports import ROOT
from tests.project import GIT, Project, line_of, output_of

NAMES = [
    "a",
    "dir/b",
    "dir/deep/c",
    "with blank/x y",
    "Übung/größe",
    'quote"d',
    "back\\slash",
    "new\nline",
    "-dash",
    "*",
]


def tree(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every file below a folder but git's own: kind, and bytes or target."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git" or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            found[name] = ("link", os.fsencode(path.readlink()))
        else:
            found[name] = ("executable" if os.access(path, os.X_OK) else "file", path.read_bytes())
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Project:
    """Files of all names, committed, in a folder of a repository that holds others."""
    project = Project(tmp_path / "repository/Mein Projekt ü")
    project.folder.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", project.folder.parent], check=True)
    for name in ("../outside", "name of before", *NAMES):
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (project.folder / ".gitignore").write_text("ignored\n")
    (project.folder / "link").symlink_to("dir/b")
    project.commit("All")
    return project


def test_a_clone_gets_the_workspaces_state_of_every_file_that_git_does_not_ignore(
    repository: Project, tmp_path: Path
) -> None:
    folder = repository.folder
    subprocess.run(["git", "clone", "--quiet", folder.parent, tmp_path / "clone"], check=True)
    for name in NAMES[3:]:
        (folder / name).write_text("changed")
    for name in NAMES:
        new = folder / f"new folder/ä {name}"
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(name)
    (folder / "new folder" / os.fsdecode(b"\xff")).write_bytes(b"of no encoding")
    (folder / "new link").symlink_to("nowhere")
    (folder / "link").unlink()
    (folder / "link").write_text("now a file")
    (folder / "*").chmod(0o755)
    (folder / "a").unlink()
    (folder / "a").mkdir()
    (folder / "a/file").write_text("a file became a folder")
    (folder / "dir/b").unlink()
    (folder / "dir/deep/c").unlink()
    (folder / "dir/deep").rmdir()
    (folder / "dir").rmdir()
    (folder / "dir").write_text("and a folder a file")
    repository.run("git", "mv", "name of before", "staged rename")
    repository.run("git", "rm", "--quiet", "--cached", "--", "-dash")  # still there
    (folder / "staged and gone").write_text("")
    (folder / "intended").write_text("with git add -N")
    repository.run("git", "add", "staged and gone")
    repository.run("git", "add", "--intent-to-add", "intended")
    (folder / "staged and gone").unlink()
    expected = tree(folder)
    (folder / "ignored").write_text("not copied")
    (folder.parent / "outside").write_text("another project's change")
    before = repository.status()
    copy_changes(folder, tmp_path / "clone" / folder.name)
    assert tree(tmp_path / "clone" / folder.name) == expected
    assert (tmp_path / "clone/outside").read_text() == "../outside"
    assert repository.status() == before


def test_epochs_are_set_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# all\ntraining:\n  epochs: 10\n  rate: 1e-5\nscratch:\n  training: {epochs: 7}\n  epoch: 2\n")
    set_to_one_epoch(path)
    assert path.read_text() == (
        "# all\ntraining:\n  epochs: 1\n  rate: 1e-5\nscratch:\n  training: {epochs: 1}\n  epoch: 2\n"
    )


def test_one_epoch_of_a_valid_config_is_valid(tmp_path: Path) -> None:
    """Also where augmentation ends before training does, as in the most accurate recipe."""
    content = YAML().load(ROOT / "params.yaml")
    content["augmentation"].update(enabled=True, no_aug_epochs=4)
    content["scratch"]["augmentation"] = {"no_aug_epochs": 5}
    path = tmp_path / "params.yaml"
    YAML().dump(content, path)
    set_to_one_epoch(path)
    config = load_config(Config, path)
    assert [engine.training.epochs for engine in (config.torch, config.scratch)] == [1, 1]


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of everything but DVC's cache and its temporary files, also in git's folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if "__pycache__" not in str(path)}
    return {name: content for name, content in kept.items() if not name.startswith((".dvc/cache/", ".dvc/tmp/"))}


@pytest.mark.slow
def test_a_quick_run_takes_the_workspace_as_it_is_and_leaves_it_alone(project: Project, tmp_path: Path) -> None:
    """With DVC's cache elsewhere, new code in a new folder, a staged rename, and more epochs for one engine."""
    project.install()
    cache = tmp_path / "cache elsewhere"
    (project.folder / ".dvc/cache").rename(cache)
    (tmp_path / "link").symlink_to(cache)
    project.dvc("cache", "dir", "--local", "../link")
    project.set({"scratch.training.epochs": "3", "optimizer.learning_rate": "0.002"})
    new = project.folder / "stages/evaluation/new words/größe.txt"
    new.parent.mkdir()
    new.write_text("greetings from a new file", encoding="utf-8")
    project.run("git", "mv", "stages/evaluation/tables.py", "stages/evaluation/renamed.py")
    for path in (project.folder / "stages").rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        path.write_text(code.replace("stages.evaluation.tables", "stages.evaluation.renamed"), encoding="utf-8")
    compare = project.folder / "stages/compare.py"
    greeting = f"print(open({new.relative_to(project.folder).as_posix()!r}, encoding='utf-8').read())"
    compare.write_text(f"{greeting}\n{compare.read_text(encoding='utf-8')}", encoding="utf-8")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    state, before = project.status(), files(project.folder)
    output = project.run("make", "quick", environment={"TMPDIR": str(temporary)}).stdout
    assert "\ngreetings from a new file\n" in output
    assert output.count("epoch 1/1") == 2
    assert re.search(r"^Path +Metric +HEAD +workspace", output, re.MULTILINE)
    assert re.search(r"torch\.val +[\d.]+ +[\d.]+", output)
    assert "Stage 'fetch' didn't change, skipping" in output  # and 'preprocess' comes out of the cache
    assert "Running stage 'preprocess'" not in output
    assert files(project.folder) == before
    assert project.status() == state
    assert [*temporary.glob("quick-*")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("tool", "number"), [("quick", signal.SIGINT), ("quick", signal.SIGHUP), ("reproduce", signal.SIGTERM)]
)
def test_an_interrupted_run_leaves_neither_its_clone_nor_a_process(
    project: Project, tmp_path: Path, tool: str, number: signal.Signals
) -> None:
    """The tool alone is sent the signal: even in a terminal, what it starts is no part of its process group."""
    project.set({"seed": "5"})
    project.run(*GIT, "commit", "--quiet", "--all", "--message", "Another seed")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = files(project.folder)
    command = ("python", "-m", f"stages.tools.{tool}")
    environment = {"TMPDIR": str(temporary)}
    with project.started(*command, environment=environment) as process:
        line_of(process, "Running stage 'train_torch'" if number == signal.SIGINT else "Running stage 'preprocess'")
        os.kill(process.pid, number)
        output = output_of(process)  # the end of the pipe: nobody holds it any more
    assert output.endswith("error: interrupted\n")
    assert process.returncode == 1
    assert [*temporary.glob(f"{tool}-*")] == []
    assert files(project.folder) == before
