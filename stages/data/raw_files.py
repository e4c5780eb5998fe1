"""The four raw files: their names and sizes, and the check that the files of every source must pass."""

import hashlib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, decode
from stages.pipeline.errors import PipelineError

RawFiles = dict[str, bytes]  # name -> uncompressed contents

MNIST_SHA256 = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset's files must be: the number of images, and each file's SHA-256 where it is known."""

    train_size: int = 60_000
    test_size: int = 10_000
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes: header and contents."""
        return {
            TRAIN_IMAGES: 16 + 28 * 28 * self.train_size,
            TRAIN_LABELS: 8 + self.train_size,
            TEST_IMAGES: 16 + 28 * 28 * self.test_size,
            TEST_LABELS: 8 + self.test_size,
        }


def dataset_spec(dataset: str) -> DatasetSpec:
    """What the files of ``dataset`` must be; digests are known for MNIST only."""
    return DatasetSpec(sha256=MNIST_SHA256 if dataset == "MNIST" else {})


def verify(files: RawFiles, spec: DatasetSpec) -> None:
    """Raise PipelineError that names the file unless ``files`` match ``spec``."""
    for name, size in spec.sizes.items():
        content = files[name]
        if len(content) != size:
            found = f"{len(content)} found" if len(content) < size else "more found"
            raise PipelineError(f"{name}: {size} bytes expected, {found}")
        if name in spec.sha256 and (digest := sha256(content)) != spec.sha256[name]:
            raise PipelineError(f"{name}: SHA-256 {spec.sha256[name][:12]}... expected, {digest[:12]}... found")
        try:
            decode(name, content)
        except ValueError as error:
            raise PipelineError(f"{name}: {error}") from None


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def short_message(error: Exception | str) -> str:
    """One line of what a library raised, without user names and passwords in URLs."""
    message = re.sub(r"//[^/\s]+@", "//", str(error))
    return textwrap.shorten(message, 300, placeholder=" ...") or type(error).__name__
