"""Writes files that are whole or absent, and the same bytes for the same content."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stages.pipeline.errors import PipelineError


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step: a reader finds the old file or the new one, never a part.

    Raises PipelineError when the disk is full or the folder cannot be written to; the old file is then still there.
    """
    partial = path.with_name(f".{path.name}.partial")  # git and DVC ignore it, should a killed process leave it behind
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        reason = f"{error.strerror}; free disk space or fix the permissions"
        raise PipelineError(f"{path}: cannot be written: {reason}") from None
    finally:
        with suppress(OSError):
            partial.unlink()  # only there when something failed


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, its keys in the order given.

    Raises ValueError for NaN and infinity, else as :func:`write_bytes`.
    """
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header, numbers as ``str`` gives them. Raises as :func:`write_bytes`."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
    write_bytes(path, buffer.getvalue().encode())


def npz_bytes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return an .npz file: that of ``numpy.savez``, but for zip headers in which releases of Python differ."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def write_npy(path: Path, array: np.ndarray[Any, np.dtype[Any]]) -> None:
    """Write one array in NumPy's own format. Raises as :func:`write_bytes`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
