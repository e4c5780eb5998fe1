"""Work on large arrays in pieces, on several threads: NumPy lets other threads run while it computes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import TypeVar

Result = TypeVar("Result")

PIECES = 4  # however many threads there are, so that they do not change the order in which numbers are added
_threads = 1
_workers = ThreadPoolExecutor(PIECES)  # starts none before it has work


def set_threads(threads: int) -> None:
    """Use so many threads from now on, up to the number of pieces."""
    global _threads
    _threads = min(threads, PIECES)


def in_pieces(length: int, work: Callable[[slice], Result]) -> list[Result]:
    """Call ``work`` for pieces that cover range(length), each on one thread. Returns the results in order.

    What one piece writes, no other may read or write.
    """
    ends = [length * end // PIECES for end in range(PIECES + 1)]
    pieces = [slice(start, end) for start, end in pairwise(ends) if start < end]
    shares = [
        pieces[len(pieces) * share // _threads : len(pieces) * (share + 1) // _threads] for share in range(_threads)
    ]
    waiting = [_workers.submit(copy_context().run, _work_through, share, work) for share in shares[1:]]
    results = _work_through(shares[0], work)
    for future in waiting:
        results += future.result()
    return results


def _work_through(pieces: list[slice], work: Callable[[slice], Result]) -> list[Result]:
    return [work(piece) for piece in pieces]
