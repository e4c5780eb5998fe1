"""The raw images, of which workers make their splits."""

import zlib
from pathlib import Path
from typing import Literal

from stages import preprocess
from stages.data.idx import Bytes, read_split
from stages.pipeline.errors import PipelineError
from stages.preprocess import RAW
from stages.tools.commands import run


def fetched(split: Literal["train", "test"]) -> tuple[Bytes, Bytes]:
    """A split's images (N, 28, 28) and labels (N,); the pipeline fetches them where they are not here yet."""
    if run(Path(), "dvc", "repro", "--quiet", "fetch").returncode:
        raise PipelineError("the stage fetch failed; its own message stands above")
    return read_split(RAW, split)


def checksums(raw: tuple[Bytes, Bytes]) -> list[int]:
    """What tells these images, labels and the code that splits them from others."""
    return [
        zlib.crc32(content) for content in (*(each.tobytes() for each in raw), Path(preprocess.__file__).read_bytes())
    ]
