"""params.yaml: what is shared and overridden, and that any mistake stops with one line that names the key."""

import copy
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import assume, example, given
from hypothesis.strategies import from_regex
from ruamel.yaml import YAML

from stages.engines.config import ENGINES, SHARED, Config
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config, validate
from tests.imports import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
COMMITTED: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)
Key = tuple[str, ...]

NOT_TEXT = [7, 0.5, [], {}, True, "", "x" * 10_000]
HUGE = [10**18 + 10**30, -(10**30)]
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]
NONSENSE: dict[type, list[object]] = {
    bool: ["text", "true", 1, 0, 0.5, [], {}, None],
    int: ["text", "", None, 0.5, *NOT_FINITE, *HUGE, -1, [1], {}, True],
    float: ["text", "", None, *NOT_FINITE, 1e300, -1e300, 10**400, -1, [1.0], {}, True],
    str: [*NOT_TEXT, None],
    list: ["text", "", None, 1, {}, True, [None], [[]], [""], [0.5], [10**30], [True], [{}], [1] * 1000],
    dict: ["text", "", None, 1, [], True],
}


def error(path: Path | None, content: str | bytes | dict[str, Any]) -> str:
    """The one line with which a file or its parsed content is refused."""
    if isinstance(content, dict):
        with pytest.raises(PipelineError) as caught:
            validate(Config, content)
    else:
        assert path
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(PipelineError) as caught:
            load_config(Config, path)
    message = str(caught.value)
    assert message.isprintable()  # one line, then
    assert len(message) < 500
    return message.replace(str(path), "params.yaml")


def fields(section: dict[str, Any], path: Key = ()) -> Iterator[tuple[Key, object]]:
    """Every key of the file with its value, sections included."""
    for key, value in section.items():
        yield (*path, key), value
        if isinstance(value, dict):
            yield from fields(value, (*path, key))


FIELDS = dict(fields(COMMITTED))
REQUIRED = {key: value for key, value in FIELDS.items() if not (key[0] in ENGINES and key[1:] and key[1] in SHARED)}
OVERRIDES = [(engine, *key) for engine in ENGINES for key in FIELDS if key[0] in SHARED and key[1:]]


def section_of(content: dict[str, Any], key: Key) -> dict[str, Any]:
    for name in key[:-1]:
        content = content.setdefault(name, {})
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_the_committed_file_is_valid_and_at_most_64_lines() -> None:
    config = load_config(Config, ROOT / "params.yaml")
    assert config.torch.network.hidden_sizes == [512, 256]
    assert config.scratch.network.hidden_sizes == [128, 64]
    assert len(TEXT.splitlines()) <= 64


@pytest.mark.parametrize("key", [key for key, value in FIELDS.items() if not isinstance(value, dict)], ids=".".join)
def test_dvc_sets_each_key_and_leaves_every_other(path: Path, key: Key) -> None:
    """A comment beside the name of a list that DVC empties would make ruamel.yaml swallow a line break further down."""
    values = [[], [3], [3, 2, 1]] if isinstance(FIELDS[key], list) else [another(FIELDS[key], key[-1])]
    for value in values:
        path.write_text(TEXT, encoding="utf-8")
        apply_overrides(path, [f"{'.'.join(key)}={json.dumps(value)}"])
        expected = copy.deepcopy(COMMITTED)
        section_of(expected, key)[key[-1]] = value
        assert YAML(typ="safe", pure=True).load(path) == expected


def another(value: Any, key: str) -> object:
    """A value of the key that is not this one; a valid one in what engines share."""
    words = {"activation": "tanh", "initialization": "he_normal", "name": "sgd", "schedule": "cosine"}
    if isinstance(value, list):
        return [3]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return words.get(key, "another")
    return value + 1 if isinstance(value, int) else value / 2 or 0.5


@pytest.mark.parametrize("key", OVERRIDES, ids=".".join)
def test_an_engine_overrides_any_shared_key_for_itself_alone(key: Key) -> None:
    engine, section, name = key
    other = next(each for each in ENGINES if each != engine)
    content = copy.deepcopy(COMMITTED)
    content["scratch"].pop("network")
    before = validate(Config, content)
    old = COMMITTED[section][name]
    section_of(content, key)[name] = another(old, name)
    config = validate(Config, content)
    assert getattr(getattr(config.engine(engine), section), name) == another(old, name) != old
    assert config.engine(other) == before.engine(other)


def test_a_misspelled_override_is_named_with_its_engine() -> None:
    content = copy.deepcopy(COMMITTED)
    content["scratch"]["optimizer"] = {"momentums": 0}
    assert error(None, content).startswith("scratch.optimizer.momentums: unknown key, got 0; the keys here are name, ")


def test_a_shared_key_changes_every_engine_that_does_not_override_it() -> None:
    content = copy.deepcopy(COMMITTED)
    content["network"] |= {"batch_norm": True, "hidden_sizes": [7]}
    config = validate(Config, content)
    assert config.torch.network.batch_norm
    assert config.scratch.network.batch_norm
    assert (config.torch.network.hidden_sizes, config.scratch.network.hidden_sizes) == ([7], [128, 64])


FLOAT = r"[+]?([.][0-9]{1,5}|[0-9]{1,5}([.][0-9]{0,5})?)([eE][-+]?[0-9])?"  # of the specification, section 10.3.2


@example(text="1e-5")
@example(text="+.5E1")
@given(text=from_regex(FLOAT, fullmatch=True))
def test_every_float_of_yaml_1_2_is_a_number(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "float.yaml"
    path.write_text(TEXT.replace("max_grad_norm: 0.0", f"max_grad_norm: {text}"), encoding="utf-8")
    assume(float(text) <= 1e9)
    assert load_config(Config, path).torch.optimizer.max_grad_norm == float(text)


@pytest.mark.parametrize("key", FIELDS, ids=".".join)
def test_nonsense_is_refused_in_the_name_of_its_key(key: Key) -> None:
    for nonsense in NONSENSE[type(FIELDS[key])]:
        content = copy.deepcopy(COMMITTED)
        section_of(content, key)[key[-1]] = nonsense
        if nonsense == {} and key == ("scratch", "network"):
            continue  # overrides nothing
        assert re.match(rf"{'.'.join(key)}(\.\d+)?: must be .+, got .+", error(None, content)), nonsense


@pytest.mark.parametrize("key", REQUIRED, ids=".".join)
def test_a_key_that_is_missing_misspelled_or_there_twice_is_named(path: Path, key: Key) -> None:
    name, content = ".".join(key), copy.deepcopy(COMMITTED)
    value = section_of(content, key).pop(key[-1])
    assert error(None, content) == f"{name}: missing; it must be given"

    section_of(content, key).update({f"{key[-1]}s": value})
    assert error(None, content).startswith(f"{name}s: unknown key, got ")

    written, yaml = io.StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(COMMITTED, written)
    lines = written.getvalue().splitlines(keepends=True)
    opening = [0, *(lines.index(f"{'  ' * depth}{part}:\n") + 1 for depth, part in enumerate(key[:-1]))][-1]
    lines.insert(opening, f"{'  ' * (len(key) - 1)}{key[-1]}: 1\n")
    assert re.search(rf'not valid YAML: found duplicate key "{key[-1]}" .*, line \d+', error(path, "".join(lines)))


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("learning_rate: 0.004", "learning_rate: 0", "optimizer.learning_rate: must be > 0, got 0"),
        ("learning_rate: 0.004", "learning_rate: .nan", "optimizer.learning_rate: must be a finite number, got nan"),
        ("warmup_fraction: 0.2", "warmup_fraction: 1.5", "optimizer.warmup_fraction: must be <= 1, got 1.5"),
        ("epochs: 8", "epochs: 2.5", "training.epochs: must be an integer, got 2.5"),
        ("  - 512\n", "  - many\n", "network.hidden_sizes.0: must be an integer, got 'many'"),
        ("    - 128\n", "    - 0\n", "scratch.network.hidden_sizes.0: must be >= 1, got 0"),
        (
            "dataset: MNIST",
            "dataset: SVHN",
            "fetch.dataset: must be one of MNIST, FashionMNIST, KMNIST or custom, got 'SVHN'",
        ),
        ("arithmetic: portable", "arithmetic: fast", "arithmetic: must be one of portable or native, got 'fast'"),
        ("  device: cpu ", "  device: null ", "torch.device: must be one of auto, cuda, mps or cpu, got null"),
        (
            "channels: []",
            "channels: [8, 8, 8]",
            "network.channels: must be of a length <= 2 with convolutions 1, kernel_size 5 and padding 0, because in "
            "block 3, feature maps of 4x4 are too small for kernels of 5x5; got a length of 3",
        ),
        (
            "scratch:\n  network:\n",
            "scratch:\n  network:\n    channels: [8]\n    kernel_size: 28\n",
            "scratch.network.channels: must be of a length <= 0 with convolutions 1, kernel_size 28 and padding 0, "
            "because in block 1, feature maps of 1x1 are too small for pooling of 2x2; got a length of 1",
        ),
        (
            "scratch:\n",
            "scratch:\n  augmentation:\n    enabled: true\n    no_aug_epochs: 8\n",
            "scratch.augmentation.no_aug_epochs: must be < training.epochs, which is 8, got 8",
        ),
        (
            "dataset: MNIST",
            "dataset: custom",
            "fetch.sources: must be [directory] for `dataset: custom`, which nothing else has, "
            "got ['torchvision', 'package_index']",
        ),
    ],
)
def test_the_message_says_what_is_allowed(path: Path, line: str, replacement: str, message: str) -> None:
    assert line in TEXT
    assert error(path, TEXT.replace(line, replacement, 1)) == message


LAUGHS = "a: &a [l, l, l, l, l, l, l, l]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
FILES = {
    "empty": b"",
    "comments": b"# nothing\n",
    "a list": b"[1, 2]",
    "a word": b"params",
    "not YAML": b"seed: [1",
    "tabs": b"seed:\n\t- 1",
    "control characters": b"seed: \x00\x07",
    "not UTF-8": b"seed: \xff\xfe1",
    "an image": b"\x89PNG\r\n\x1a\n",
    "nested without end": b"[" * 100_000,
    "a number without end": b"seed: " + b"9" * 100_000,
    "a hexadecimal number without end": b"seed: 0x" + b"f" * 100_000,
    "a day that never was": b"seed: 2001-99-99",
    "a day": b"seed: 2001-01-01",
    "code": b"seed: !!python/object/apply:os.system [touch trace]",
    "an impossible tag": b"seed: !!int ''",
    "a merge": b"base: &base {seed: 1}\n<<: *base",
    "a billion laughs": LAUGHS.encode(),
    "a list of itself": b"seed: &seed [*seed]",
    "a list for a key": b"[1, 2]: 3",
    "a number for a key": b"1: 2",
    "null for a key": b"null: 2",
    "a key of two lines": b'"seed\\nfetch": 1',
    "half a character for a key": b'"\\uD800": 1',
    "half a character": b'seed: "\\uD800"',
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_that_is_no_config_is_one_line(path: Path, content: bytes) -> None:
    error(path, content)
    assert [each.name for each in path.parent.iterdir()] == ["params.yaml"]


def test_a_file_that_cannot_be_read_is_one_line(path: Path) -> None:
    with pytest.raises(PipelineError, match="No such file or directory; run from the project's folder"):
        load_config(Config, path)
    with pytest.raises(PipelineError, match="Is a directory"):
        load_config(Config, path.parent)


@pytest.mark.parametrize(
    ("module", "line", "replacement", "message"),
    [
        ("fetch", "timeout: 10.0", "timeout: 0", "fetch.timeout: must be >= 0.01, got 0"),
        ("train scratch", "epochs: 8", "epochs: 0", "training.epochs: must be >= 1, got 0"),
        ("train torch", "channels: []", "channels: [1, 1, 1]", "network.channels: must be of a length <= 2 with "),
        ("compare", "seed: 1", "sede: 1", "seed: missing; it must be given"),
        (
            "engines.config",
            "torch:",
            "toch:",
            "toch: unknown key, got {'device': 'cpu', ",
        ),
    ],
)
def test_a_stage_ends_with_that_line_and_touches_nothing(
    path: Path, module: str, line: str, replacement: str, message: str
) -> None:
    """And `make`, which validates the whole file before any stage."""
    assert line in TEXT
    path.write_text(TEXT.replace(line, replacement, 1), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-O", "-m", *f"stages.{module}".split()],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert [each.name for each in path.parent.iterdir()] == ["params.yaml"]
