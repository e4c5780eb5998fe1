"""The four raw files: their names, sizes and digests, and the check that the files of every source must pass."""

import hashlib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Bytes, decode
from stages.pipeline.errors import PipelineError

RawFiles = dict[str, bytes]  # name -> uncompressed contents

CUSTOM = "custom"  # the dataset that is whatever the user has

# Of the uncompressed files. FashionMNIST's are those of Debian's package dataset-fashion-mnist: with the time and the
# name in their gzip headers, which Debian strips, they are the files whose MD5 sums torchvision knows.
SHA256 = {
    "MNIST": {
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "FashionMNIST": {
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

# Of the .gz files as published, where only those are known. These are in torchvision's prototype datasets and in
# torchvision-ruby; torchvision itself checks MD5 sums when it downloads.
PUBLISHED_SHA256 = {
    "KMNIST": {
        TRAIN_IMAGES: "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        TRAIN_LABELS: "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        TEST_IMAGES: "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        TEST_LABELS: "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    },
}


def sizes(train: int, test: int) -> dict[str, int]:
    """The size in bytes of each file for so many images: header and contents."""
    return {
        TRAIN_IMAGES: 16 + 28 * 28 * train,
        TRAIN_LABELS: 8 + train,
        TEST_IMAGES: 16 + 28 * 28 * test,
        TEST_LABELS: 8 + test,
    }


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset's files must be; whatever is empty may be anything."""

    name: str = CUSTOM
    sizes: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    published_sha256: Mapping[str, str] = field(default_factory=dict)  # of the .gz files


def dataset_spec(dataset: str) -> DatasetSpec:
    """What the files of ``dataset`` must be."""
    if dataset == CUSTOM:
        return DatasetSpec()
    return DatasetSpec(dataset, sizes(60_000, 10_000), SHA256.get(dataset, {}), PUBLISHED_SHA256.get(dataset, {}))


def verify(files: RawFiles, spec: DatasetSpec) -> None:
    """Raise PipelineError that names the file unless ``files`` match ``spec``."""
    refuse_other_dataset(files, spec)
    arrays = {name: _decoded(name, content, spec) for name, content in files.items()}
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        if len(arrays[images]) != len(arrays[labels]):
            raise PipelineError(f"{labels}: {len(arrays[labels])} labels for {len(arrays[images])} images")


def refuse_other_dataset(files: RawFiles, spec: DatasetSpec) -> None:
    """Raise PipelineError if ``files`` are known to be another dataset's. A custom dataset may share some with it."""
    digests = {name: sha256(content) for name, content in files.items()}
    for other in SHA256.keys() - {spec.name}:
        theirs = [name for name, digest in digests.items() if digest == SHA256[other][name]]
        if len(theirs) == len(files):
            raise PipelineError(f"these are {other}'s files; for them, set fetch.dataset to {other}")
        if theirs and spec.name != CUSTOM:
            raise PipelineError(f"{theirs[0]}: this is {other}'s file, not {spec.name}'s")


def _decoded(name: str, content: bytes, spec: DatasetSpec) -> Bytes:
    if len(content) != (size := spec.sizes.get(name, len(content))):
        found = f"{len(content)} found" if len(content) < size else "more found"
        raise PipelineError(f"{name}: {size} bytes expected, {found}")
    if name in spec.sha256 and (digest := sha256(content)) != spec.sha256[name]:
        expected = spec.sha256[name]
        raise PipelineError(f"{name}: not {spec.name}'s: SHA-256 {expected[:12]}... expected, {digest[:12]}... found")
    try:
        return decode(name, content)
    except ValueError as error:
        raise PipelineError(f"{name}: {error}") from None


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def short_message(error: Exception | str) -> str:
    """One line of what a library raised, without user names and passwords in URLs."""
    message = re.sub(r"//[^/\s]+@", "//", str(error))
    return textwrap.shorten(message, 300, placeholder=" ...") or type(error).__name__
