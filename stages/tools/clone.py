"""A clone of HEAD in a temporary folder, where the pipeline can run without touching the workspace."""

import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

from stages.pipeline.config import DataConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from stages.tools.commands import SIGNALS, run
from stages.tools.git import git, location

RAW = Path("data/raw")
# The updater would write into the folder while that is removed. The cache is the clone's own, whatever is configured.
SETTINGS = "[core]\n    check_update = false\n[cache]\n    dir = cache\n"


@contextmanager
def clone_head(name: str) -> Iterator[Path]:
    """Clone what is committed; yields this project's folder in the clone, which is removed in the end."""
    repository, prefix = location()
    with TemporaryDirectory(prefix=f"{name}-") as folder:
        try:
            clone = Path(folder, "clone")
            git(repository, "clone", "--quiet", "--no-local", "--depth=1", ".", str(clone))
            (clone / prefix / ".dvc/config.local").write_text(SETTINGS, encoding="utf-8")
            yield clone / prefix
        finally:
            for number in SIGNALS:  # nothing disturbs the removal
                signal.signal(number, signal.SIG_IGN)


def run_pipeline(clone: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run the pipeline there, from the raw images that are already here. Raises PipelineError when a stage fails."""
    site = {"DVC_SITE_CACHE_DIR": str(clone / ".dvc/tmp/site")}  # instead of /var/tmp, where nobody would remove it
    everything = {**site, **(environment or {})}
    if not RAW.exists() and (clone / "dvc.lock").exists():  # the images may be in DVC's cache
        run(clone, "dvc", "checkout", "--quiet", RAW.as_posix(), environment=everything, stderr=DEVNULL)
    directory = Path(load_config(DataConfig, clone / "params.yaml").fetch.directory)
    for images in (RAW, directory):  # the fetch stage verifies them
        is_inside = images.resolve().is_relative_to(Path().resolve()) and not (clone / images).is_symlink()
        if images.is_dir() and is_inside and not images.is_absolute():
            shutil.copytree(images, clone / images, dirs_exist_ok=True)
    if run(clone, "dvc", "repro", environment=everything).returncode:
        raise PipelineError("the pipeline failed in a copy of the project; its own message stands above")
