"""Files that the user already has."""

import gzip
from pathlib import Path

from stages.data.raw_files import DatasetSpec, RawFiles, short_message
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError


def fetch(config: FetchConfig, spec: DatasetSpec) -> RawFiles:
    """Read the four files from ``fetch.directory``. Raises PipelineError that names the file and how to fix it."""
    try:
        folder = Path(config.directory or ".").expanduser().absolute()
        return {name: _read(_find(folder, name), size) for name, size in spec.sizes.items()}
    except (OSError, ValueError, RuntimeError) as error:  # of a string that cannot be a path
        raise PipelineError(f"{short_message(error)}; change fetch.directory") from None


def _find(folder: Path, name: str) -> Path:
    spellings = [name, name.replace("-idx", ".idx")]
    candidates = [folder / f"{spelling}{suffix}" for suffix in ("", ".gz") for spelling in spellings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise PipelineError(f"no {name} or {name}.gz in {folder}; put it there or change fetch.directory")


def _read(path: Path, size: int) -> bytes:
    """Read at most one byte more than ``size``: enough to see that a file is too long, even a decompression bomb."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size + 1)
    except Exception as error:  # damaged bytes can fail anywhere in gzip
        message = f"{path}: cannot be read: {short_message(error)}"
        raise PipelineError(f"{message}; replace it or change fetch.directory") from None
