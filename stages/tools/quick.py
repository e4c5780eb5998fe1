"""Run the workspace's pipeline with one epoch, and compare its metrics with HEAD's: ``python -m stages.tools.quick``.

It runs in a clone of HEAD that gets what the workspace has changed, new files included, and is removed in the end.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.engines.config import Config
from stages.pipeline.params import load_config
from stages.tools.clone import clone_head, run_pipeline
from stages.tools.commands import run, start
from stages.tools.git import changed_files, new_files, require_in_head

ONE_EPOCH = {"epochs": 1, "no_aug_epochs": 0}  # the last epochs may not be all


def main() -> None:
    """Clone, copy, run, and print the metrics of both."""
    require_in_head("dvc.yaml")
    load_config(Config)  # raises here what would stop the first stage
    print("running everything with one epoch each, in a temporary copy; the workspace stays as it is", flush=True)
    with clone_head("quick") as clone:
        copy_changes(Path(), clone)
        share_cache(clone)
        set_to_one_epoch(clone / "params.yaml")
        run_pipeline(clone)
        print("HEAD's metrics beside those of one epoch, here called workspace:", flush=True)
        run(clone, "dvc", "metrics", "diff", "--all", "HEAD")


def share_cache(clone: Path) -> None:
    """Let the clone use the workspace's cache, wherever that is. A link, because DVC cannot write every path."""
    with Repo() as repo:
        cache = Path(repo.cache.local_cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    (clone / ".dvc/cache").symlink_to(cache)


def copy_changes(workspace: Path, clone: Path) -> None:
    """Give a clone of HEAD the workspace's state of every file that git does not ignore."""
    names = sorted({*changed_files(workspace), *new_files(workspace)})
    for name in names:  # all before the first copy: a file may have become a folder, or a folder a file
        _remove(clone, Path(name))
    for name in names:
        source = workspace / name
        if source.is_symlink() or source.is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, clone / name, follow_symlinks=False)


def _remove(clone: Path, name: Path) -> None:
    """Remove a file, and the folders that it leaves empty, as git does."""
    with suppress(OSError):  # not there; or a submodule, which stays
        (clone / name).unlink()
        for folder in name.parents[:-1]:
            (clone / folder).rmdir()


def set_to_one_epoch(path: Path) -> None:
    """Set the keys of ONE_EPOCH wherever they stand in a YAML file: an engine's section may have its own."""

    def replace(section: Any) -> None:
        for key, value in section.items():
            if isinstance(value, dict):
                replace(value)
            else:
                section[key] = ONE_EPOCH.get(key, value)

    yaml = YAML()
    content = yaml.load(path)
    replace(content)
    yaml.dump(content, path)


if __name__ == "__main__":
    start(main)
