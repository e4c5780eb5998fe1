"""Every field of params.yaml, given every kind of nonsense: one line that names the key, and nothing is touched."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from tests.imports import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
COMMITTED: dict[str, Any] = yaml.safe_load(TEXT)
Key = tuple[str, ...]

NOT_TEXT = [7, 0.5, [], {}, True, "", "x" * 10_000]
NONSENSE: dict[type, list[object]] = {
    bool: ["text", "true", 1, 0, 0.5, [], {}, None],
    int: [
        "text",
        "",
        None,
        0.5,
        float("nan"),
        float("inf"),
        -float("inf"),
        10**18 + 10**30,
        -(10**30),
        -1,
        [1],
        {},
        True,
    ],
    float: ["text", "", None, float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 10**400, -1, [1.0], {}, True],
    str: [*NOT_TEXT, None],
    list: ["text", "", None, 1, {}, True, [None], [[]], [""], [0.5], [10**30], [True], [{}], [1] * 1000],
    dict: ["text", "", None, 1, [], True],
    type(None): NOT_TEXT,  # fetch.directory, which may be null
}


def fields(section: dict[str, Any], path: Key = ()) -> Iterator[tuple[Key, object]]:
    """Every key of the file with its value, sections included."""
    for key, value in section.items():
        yield (*path, key), value
        if isinstance(value, dict):
            yield from fields(value, (*path, key))


FIELDS = dict(fields(COMMITTED))
every_field = pytest.mark.parametrize("key", FIELDS, ids=".".join)


def section_of(content: dict[str, Any], key: Key) -> dict[str, Any]:
    for name in key[:-1]:
        content = content[name]
    return content


def fault(path: Path) -> str:
    with pytest.raises(PipelineError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.isprintable()  # one line, then
    assert len(message) < 500
    return message


@every_field
def test_nonsense_is_refused_in_the_name_of_its_key(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "params.yaml"
    for nonsense in NONSENSE[type(FIELDS[key])]:
        content = copy.deepcopy(COMMITTED)
        section_of(content, key)[key[-1]] = nonsense
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert re.match(rf"{'.'.join(key)}(\.\d+)?: must be .+, got .+", fault(path)), nonsense


@every_field
def test_a_key_that_is_gone_misspelt_or_there_twice_is_named(tmp_path: Path, key: Key) -> None:
    path, name = tmp_path / "params.yaml", ".".join(key)
    content = copy.deepcopy(COMMITTED)
    value = section_of(content, key).pop(key[-1])
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert fault(path) == f"{name}: missing; it must be given"

    section_of(content, key).update({key[-1]: value, f"{key[-1]}s": value})
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert fault(path).startswith(f"{name}s: unknown key, got ")

    lines = yaml.safe_dump(COMMITTED, sort_keys=False).splitlines(keepends=True)
    opening = [0, *(lines.index(f"{'  ' * depth}{part}:\n") + 1 for depth, part in enumerate(key[:-1]))][-1]
    lines.insert(opening, f"{'  ' * (len(key) - 1)}{key[-1]}: 1\n")
    path.write_text("".join(lines), encoding="utf-8")
    assert f"not valid YAML: {key[-1]} stands twice in " in fault(path)


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
def test_a_file_that_is_no_parameters_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    fault(path)
    assert [each.name for each in tmp_path.iterdir()] == ["params.yaml"]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert fault(tmp_path / "params.yaml").endswith(
        "params.yaml: No such file or directory; run from the project's folder"
    )
    assert "Is a directory" in fault(tmp_path)


@pytest.mark.parametrize(
    ("stage", "line", "replacement", "message"),
    [
        ("fetch", "timeout: 10.0", "timeout: 1.e+300", "error: fetch.timeout: must be <= 3600, got 1e+300"),
        ("preprocess", "size: 5000", f"size: {10**18}", "error: preprocess.validation_size: must be <= 1000000, got 1"),
        ("train_scratch", "epochs: 10", f"epochs: {10**30}", "error: train_torch.epochs: must be <= 10000, got 1"),
        ("train_torch", "- 512", f"- {10**12}", "error: train_torch.hidden.0: must be <= 10000, got 1000000000000"),
        ("train_scratch", "seed: 1", "seed: 1\nseed: 2", "error: params.yaml: not valid YAML: seed stands twice in"),
        ("train_scratch", TEXT, "", "error: params.yaml: must hold `key: value` lines, got null"),
    ],
)
def test_the_stage_ends_with_that_line_and_touches_nothing(
    tmp_path: Path, stage: str, line: str, replacement: str, message: str
) -> None:
    assert line in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(line, replacement, 1), encoding="utf-8")
    done = run_stage(tmp_path, stage)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def run_stage(folder: Path, *stage: str) -> subprocess.CompletedProcess[str]:
    """The real stage process in a folder that holds no code."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage[0]}", *stage[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
