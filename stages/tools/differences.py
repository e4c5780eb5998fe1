"""By how much two versions of one output differ: number by number, whatever the file's format."""

import io
import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image


def describe_difference(path: str, committed: bytes, made: bytes) -> str:
    """One line: the first number of the file that differs, and the largest difference."""
    try:
        before, after = dict(_read(path, committed)), dict(_read(path, made))
    except Exception as error:  # a damaged file can fail anywhere in the reading
        return f"differs and cannot be read: {str(error)[:100]!r}"
    if before.keys() != after.keys():
        return f"differs in what it holds: {', '.join(sorted(map(repr, before.keys() ^ after.keys())))[:100]}"
    differing = {name: (before[name], after[name]) for name in before if not _equal(before[name], after[name])}
    if not differing:
        return "the same numbers, other bytes"
    name, pair = next(iter(differing.items()))
    return f"differs first in {_describe_first(name, *pair)}{_describe_largest(list(differing.values()))}"


def _read(path: str, content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a file, each with its name."""
    match PurePath(path).suffix:
        case ".json":
            yield from _flatten(json.loads(content))
        case ".csv":
            yield from (
                (f"column {name}", column.to_numpy()) for name, column in pd.read_csv(io.BytesIO(content)).items()
            )
        case ".npy":
            yield "array", np.load(io.BytesIO(content), allow_pickle=False)
        case ".npz":
            yield from np.load(io.BytesIO(content), allow_pickle=False).items()
        case ".pth":
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            yield from ((name, tensor.numpy()) for name, tensor in state.items())
        case ".png":
            yield "pixel", np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        case _:
            yield "byte", np.frombuffer(content, np.uint8)


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}" if name else key)
    else:
        yield name, np.asarray(value)


def _differs(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two arrays of one shape differ; NaN is equal to itself."""
    return np.asarray((before != after) & ~((before != before) & (after != after)))


def _equal(before: NDArray[Any], after: NDArray[Any]) -> bool:
    return before.shape == after.shape and not _differs(before, after).any()


def _describe_first(name: str, before: NDArray[Any], after: NDArray[Any]) -> str:
    if before.shape != after.shape:
        return f"{name}: shape {after.shape} instead of {before.shape}"
    index = tuple(map(int, np.argwhere(_differs(before, after))[0]))
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return f"{place}: {after[index]} instead of {before[index]}"


def _describe_largest(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """The largest absolute difference, where all are numbers."""
    same_shape = [pair for pair in pairs if pair[0].shape == pair[1].shape]
    if not same_shape or any(array.dtype.kind not in "biuf" for pair in pairs for array in pair):
        return ""
    largest = max(np.abs(a.astype(float) - b.astype(float))[_differs(a, b)].max() for a, b in same_shape)
    return f"; largest difference {largest:.3g}"
