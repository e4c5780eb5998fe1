"""Several threads work on one batch, each on a piece of it: data parallelism, as over several machines, in one process.

NumPy lets other threads run while it computes. Every thread takes its piece through a copy of the network that shares
the parameters; their gradients add up to those of the batch. Only what looks at the whole batch needs the other pieces.

Threads meet in queues and nowhere else: a thread that is interrupted never leaves one of those locked.
"""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
Orders = SimpleQueue[Callable[[], None] | None]


class MissingPieceError(RuntimeError):
    """Another piece of the batch is at its end, and has no more values to exchange."""


class Piece:
    """One thread's piece of a batch: the ``rows`` of its examples and, unless it is the whole, queues to the others.

    ``queues[i][j]`` brings what piece i has for piece j.
    """

    def __init__(
        self, rows: slice = slice(None), index: int = 0, queues: Sequence[Sequence[SimpleQueue[Any]]] = ()
    ) -> None:
        self.rows, self.index, self._queues = rows, index, queues

    def gather(self, value: Any) -> list[Any]:
        """Every piece's value, in the order of the pieces (all-gather). All call it equally often, and wait.

        Raises MissingPieceError when another piece has ended, and so where a layer is used once its batch is over.
        """
        if not self._queues:
            return [value]
        self._send(value)
        return [self._received(queues[self.index]) for queues in self._queues]

    def _received(self, queue: SimpleQueue[Any]) -> Any:
        value = queue.get()
        if value is MissingPieceError:
            raise MissingPieceError("another piece of this batch has ended")
        return value

    def total(self, *values: Any) -> list[Any]:
        """The sum of each value over all pieces (all-reduce), the same to the last digit in every piece."""
        return [sum(each) for each in zip(*self.gather(values), strict=True)]

    def end(self) -> None:
        """Nobody shall wait for this piece any more."""
        self._send(MissingPieceError)

    def _send(self, value: Any) -> None:
        for queue in self._queues[self.index]:
            queue.put(value)


class Outcome(NamedTuple):
    """What became of the work on one piece."""

    result: Any
    error: BaseException | None = None


class Team:
    """So many threads, of which the first is the one that calls."""

    def __init__(self, size: int) -> None:
        self._orders: list[Orders] = [SimpleQueue() for _ in range(size - 1)]
        for orders in self._orders:
            Thread(target=_obey, args=(orders,), daemon=True).start()

    def __del__(self) -> None:
        for orders in self._orders:
            orders.put(None)

    def in_pieces(self, examples: int, work: Sequence[Callable[[Piece], Result]]) -> list[Result]:
        """Cut a batch of so many examples into a piece for each of ``work``, one a thread; do all at once.

        Fewer examples leave the last of the work undone. Returns the results in order, or raises the first error.
        """
        size = min(len(work), examples)
        if size <= 1:
            return [work[0](Piece())]
        queues: list[list[SimpleQueue[Any]]] = [[SimpleQueue() for _ in range(size)] for _ in range(size)]
        bounds = [examples * index // size for index in range(size + 1)]
        pieces = [Piece(slice(bounds[index], bounds[index + 1]), index, queues) for index in range(size)]
        answers: list[SimpleQueue[Outcome]] = [SimpleQueue() for _ in range(size - 1)]
        try:
            for index, answer in enumerate(answers, 1):  # in this thread's context: what NumPy does on overflow
                order = partial(copy_context().run, _do, work[index], pieces[index], answer)
                self._orders[index - 1].put(order)
            first = Outcome(work[0](pieces[0]))
        except MissingPieceError as error:
            first = Outcome(None, error)
        finally:  # also after an interruption, wherever it comes
            pieces[0].end()
        outcomes = [first, *(answer.get() for answer in answers)]
        errors = [outcome.error for outcome in outcomes if outcome.error]
        if errors:  # that a piece is missing is the consequence of another error
            raise next((error for error in errors if not isinstance(error, MissingPieceError)), errors[0])
        return [outcome.result for outcome in outcomes]


def _do(work: Callable[[Piece], Any], piece: Piece, answer: SimpleQueue[Outcome]) -> None:
    """Work on a piece and say what became of it."""
    try:
        answer.put(Outcome(work(piece)))
    except BaseException as error:  # for the thread that waits for the answer
        answer.put(Outcome(None, error))
    finally:
        piece.end()


def _obey(orders: Orders) -> None:
    """Do what is ordered, until the order is None."""
    while order := orders.get():
        order()
        del order  # which keeps alive all that it works on
