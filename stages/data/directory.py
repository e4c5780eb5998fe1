"""Files that the user already has."""

import gzip
import math
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, decode_header
from stages.data.raw_files import CUSTOM, DatasetSpec, RawFiles, refuse_other_dataset, sha256, short_message, sizes
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError

_WORDS = {
    TRAIN_IMAGES: {"train", "images"},
    TRAIN_LABELS: {"train", "labels"},
    TEST_IMAGES: {"test", "images"},
    TEST_LABELS: {"test", "labels"},
}
_MAX_SIZES = sizes(1_000_000, 1_000_000)
_CHUNK = 1_000_000  # bytes read at a time, so that a declared size allocates nothing


def fetch(config: FetchConfig, spec: DatasetSpec) -> RawFiles:
    """Read the four files from ``fetch.directory``. Raises PipelineError that names the file and how to fix it."""
    try:
        folder = Path(config.directory).absolute()
        paths = {name: _find(folder, name, spec) for name in _WORDS}
        files = {name: _read(path, spec.sizes.get(name) or _declared_size(path, name)) for name, path in paths.items()}
        if spec.published_sha256:
            refuse_other_dataset(files, spec)
            _check_published(paths, spec)
        return files
    except (OSError, ValueError, RuntimeError) as error:  # of a string that cannot be a path
        raise PipelineError(f"{short_message(error)}; change fetch.directory") from None


def _find(folder: Path, name: str, spec: DatasetSpec) -> Path:
    if spec.name == CUSTOM:
        return _find_by_words(folder, name)
    spellings = [name, name.replace("-idx", ".idx")]
    suffixes = (".gz", "") if spec.published_sha256 else ("", ".gz")
    candidates = [folder / f"{spelling}{suffix}" for suffix in suffixes for spelling in spellings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise PipelineError(f"no {name} or {name}.gz in {folder}; put it there or change fetch.directory")


def _find_by_words(folder: Path, name: str) -> Path:
    """The one file with the words of ``name`` in its own, such as emnist-digits-test-images-idx3-ubyte.gz."""
    found = sorted(
        path
        for path in folder.iterdir()
        if _WORDS[name] <= _words(path.name) and path.suffix != ".dvc" and path.is_file()
    )
    words = " and ".join(sorted(_WORDS[name], reverse=True))
    if not found:
        raise PipelineError(f"no file in {folder} has {words} in its name; put it there or change fetch.directory")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:3]) + (", ..." if len(found) > 3 else "")
        raise PipelineError(f"{len(found)} files in {folder} have {words} in their names, leave one: {names}")
    return found[0]


def _words(name: str) -> set[str]:
    return set() if name.startswith(".") else set(re.split(r"[\W_]+", name.lower().replace("t10k", "test")))


def _declared_size(path: Path, name: str) -> int:
    """The size in bytes that the header of an IDX file declares."""
    try:
        header, shape = decode_header(name, _read(path, 16))
    except ValueError as error:
        raise PipelineError(f"{path}: {error}") from None
    size = header + math.prod(shape)
    if size > _MAX_SIZES[name]:
        raise PipelineError(f"{path}: it declares {size} bytes, more than the {_MAX_SIZES[name]} of a million images")
    return size


def _read(path: Path, size: int) -> bytes:
    """Read not much more than ``size``: enough to see that a file is too long, even a decompression bomb."""
    chunk = min(_CHUNK, size + 1)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return b"".join(islice(iter(lambda: file.read(chunk), b""), size // chunk + 1))
    except Exception as error:  # damaged bytes can fail anywhere in gzip
        message = f"{path}: cannot be read: {short_message(error)}"
        raise PipelineError(f"{message}; replace it or change fetch.directory") from None


def _check_published(paths: Mapping[str, Path], spec: DatasetSpec) -> None:
    """Raise PipelineError unless these are the .gz files that were published, byte by byte."""
    for name, path in paths.items():
        if sha256(path.read_bytes()) != spec.published_sha256[name]:
            message = f"{path}: not {spec.name}'s {name}.gz as it was published, the only form that can be verified"
            raise PipelineError(f"{message}; download it again, and leave it compressed")
