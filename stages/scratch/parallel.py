"""Several threads work on one batch, each on a piece of it: data parallelism, as over several machines, in one process.

NumPy lets other threads run while it computes. Every thread takes its piece through a copy of the network that shares
the parameters; their gradients add up to those of the batch. Only what looks at the whole batch needs the other pieces.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from typing import Any, TypeVar

Result = TypeVar("Result")


class Meeting:
    """Where the threads that have one batch's pieces exchange values."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        # Two, in turns: no thread comes to fill one again before all have read it.
        self.tables: list[list[Any]] = [[None] * size, [None] * size]
        self.error: BaseException | None = None

    def leave(self, error: BaseException) -> None:
        """End the meeting because of an error: nobody waits for the others any more."""
        self.error = self.error or error  # the later ones only say that somebody is missing
        self.barrier.abort()


class Piece:
    """One thread's piece of a batch: the ``rows`` of its examples, and the meeting with the other pieces, if any."""

    def __init__(self, rows: slice = slice(None), index: int = 0, meeting: Meeting | None = None) -> None:
        self.rows, self.index = rows, index
        self._meeting, self._turn = meeting, 0

    def gather(self, value: Any) -> list[Any]:
        """Every piece's value, in the order of the pieces. All call it equally often, and wait for the last."""
        if self._meeting is None:
            return [value]
        table = self._meeting.tables[self._turn]
        self._turn = 1 - self._turn
        table[self.index] = value
        self._meeting.barrier.wait()
        return list(table)

    def total(self, *values: Any) -> list[Any]:
        """The sum of each value over all pieces, the same to the last digit in every piece."""
        return [sum(each) for each in zip(*self.gather(values), strict=True)]


def in_pieces(
    examples: int, work: Sequence[Callable[[Piece], Result]], executor: Executor | None = None
) -> list[Result]:
    """Cut a batch of so many examples into a piece for each of ``work``; do all at once, the first in this thread.

    The executor must have room for all the others at once. Fewer examples leave the last of the work undone, and
    without an executor the first does the whole batch. Returns the results in order; raises what was raised first.
    """
    size = min(len(work), examples)
    if size <= 1 or executor is None:
        return [work[0](Piece())]
    meeting = Meeting(size)
    bounds = [examples * index // size for index in range(size + 1)]
    pieces = [Piece(slice(bounds[index], bounds[index + 1]), index, meeting) for index in range(size)]

    def attend(index: int) -> Result:
        try:
            return work[index](pieces[index])
        except BaseException as error:
            meeting.leave(error)
            raise

    others: list[Future[Result]] = []
    try:
        for index in range(1, size):  # in this thread's context, which holds what NumPy does on overflow
            others.append(executor.submit(copy_context().run, attend, index))
        first = attend(0)
    except BaseException as error:  # also an interruption, wherever it comes
        meeting.leave(error)
    wait(others)
    if meeting.error:
        raise meeting.error
    return [first, *(other.result() for other in others)]
