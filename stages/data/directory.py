"""Files that the user already has."""

import gzip
from pathlib import Path

from stages.data.raw_files import Expected, RawFiles, one_line
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import FetchConfig


def fetch(parameters: FetchConfig, expected: Expected) -> RawFiles:
    """Read the four files from ``fetch.directory``. Raises PipelineError that names the file and the way out."""
    try:
        folder = Path(parameters.directory or ".").expanduser().absolute()
        return {name: _read(_find(folder, name), size) for name, size in expected.sizes.items()}
    except (OSError, ValueError, RuntimeError) as error:  # of a name that cannot be one
        raise PipelineError(f"{one_line(error)}; change fetch.directory") from None


def _find(folder: Path, name: str) -> Path:
    spellings = [name, name.replace("-idx", ".idx")]
    candidates = [folder / f"{spelling}{suffix}" for suffix in ("", ".gz") for spelling in spellings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise PipelineError(f"no {name} nor {name}.gz in {folder}; put it there or change fetch.directory")


def _read(path: Path, size: int) -> bytes:
    """The content, cut one byte past ``size``: enough to see that it is too long, however far it would unpack."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size + 1)
    except Exception as error:  # damaged bytes can fail anywhere in gzip
        fault = f"{path}: cannot be read: {one_line(error)}"
        raise PipelineError(f"{fault}; replace it or change fetch.directory") from None
