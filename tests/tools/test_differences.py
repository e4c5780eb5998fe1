"""What `make reproduce` says of two versions of a file, in each format of the pipeline's outputs."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.tools.differences import describe_difference

BEFORE = np.array([[0.5, 0.25], [1.0, 2.0]], np.float32)
AFTER = np.array([[0.5, 0.2500001], [1.0, 1.5]], np.float32)


def as_csv(array: np.ndarray) -> bytes:
    return ("epoch,loss\n" + "".join(f"{a},{b}\n" for a, b in array.tolist())).encode()


def as_json(array: np.ndarray) -> bytes:
    return json.dumps({"torch": {"recall": array[:, 1].tolist(), "dataset": "MNIST"}}).encode()


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def as_png(array: np.ndarray) -> bytes:
    return saved(lambda file: Image.fromarray((array * 100).astype(np.uint8)).save(file, "PNG"))


@pytest.mark.parametrize(
    ("path", "encode", "expected"),
    [
        ("a.csv", as_csv, "column loss[0]: 0.2500000"),
        ("a.json", as_json, "torch.recall[0]: 0.2500000"),
        ("a.npy", lambda array: saved(lambda file: np.save(file, array)), "array[0, 1]: 0.2500000"),
        ("a.npz", lambda array: saved(lambda file: np.savez(file, w=array)), "w[0, 1]: 0.2500000"),
        ("a.pth", lambda array: saved(lambda file: torch.save({"w": torch.from_numpy(array)}, file)), "w[0, 1]: 0.25"),
    ],
)
def test_the_first_number_that_differs_and_the_largest_difference_are_named(
    path: str, encode: Callable[[np.ndarray], bytes], expected: str
) -> None:
    text = describe_difference(path, encode(BEFORE), encode(AFTER))
    assert text.startswith(f"differs first in {expected}")
    assert text.endswith(" instead of 0.25; largest difference 0.5")


def test_images_are_compared_by_their_pixels_and_raw_files_by_their_bytes() -> None:
    pixel = describe_difference("a.png", as_png(BEFORE), as_png(AFTER))
    assert pixel == "differs first in pixel[1, 1, 0]: 150 instead of 200; largest difference 50"
    assert (
        describe_difference("t10k", b"\1\2", b"\1\5")
        == "differs first in byte[1]: 5 instead of 2; largest difference 3"
    )


@pytest.mark.parametrize(
    ("path", "before", "after", "expected"),
    [
        ("a.json", b'{"a": 1}', b'{"a":  1}', "the same numbers, other bytes"),
        ("a.json", b'{"a": 1}', b'{"b": 1}', "differs in what it holds: 'a', 'b'"),
        ("a.json", b'{"a": "MNIST"}', b'{"a": "synthetic"}', "differs first in a: synthetic instead of MNIST"),
        ("a.csv", b"a\n1\n2\n", b"a\n1\n", "differs first in column a: shape (1,) instead of (2,)"),
        ("a.npy", b"damaged", b"other", "differs and cannot be read: "),
    ],
)
def test_other_differences_are_named(path: str, before: bytes, after: bytes, expected: str) -> None:
    assert describe_difference(path, before, after).startswith(expected)


def test_nan_is_equal_to_itself() -> None:
    """Such as the precision of a class that was never predicted."""
    before, after = b"a\nnan\n1\n", b"a\nnan\n2\n"
    expected = "differs first in column a[1]: 2.0 instead of 1.0; largest difference 1"
    assert describe_difference("a.csv", before, after) == expected
