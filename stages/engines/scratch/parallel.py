"""Data parallelism with synchronized batch normalization, in one process: threads split a batch into shards.

NumPy releases the GIL while it computes. Every thread takes its shard of the batch through its own replica of the
network, whose parameters are tied; the sum of the replicas' gradients is the gradient of the batch. Only what depends
on the whole batch, such as the statistics of batch normalization, is exchanged in between.

Threads synchronize through queues alone: unlike a lock, an interrupted thread leaves none of those in a bad state.
"""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
Tasks = SimpleQueue[Callable[[], None] | None]


class WorkerExitedError(RuntimeError):
    """Another worker has finished its shard of this batch, and sends no more values."""


class Shard:
    """One worker's part of a batch: the slice of its ``examples``, and queues to the other workers if there are any.

    ``queues[i][j]`` carries what rank i sends to rank j.
    """

    def __init__(
        self, examples: slice = slice(None), rank: int = 0, queues: Sequence[Sequence[SimpleQueue[Any]]] = ()
    ) -> None:
        self.examples, self.rank, self._queues = examples, rank, queues

    def all_gather(self, value: Any) -> list[Any]:
        """Every worker's value, ordered by rank. A collective call: all make it equally often, and wait for the others.

        Raises WorkerExitedError when another worker has finished, as it has when a layer is called after its batch.
        """
        if not self._queues:
            return [value]
        self._send(value)
        return [self._receive(queues[self.rank]) for queues in self._queues]

    def all_reduce(self, *values: Any) -> list[Any]:
        """The sum of each value over all workers, in order of rank and so the same to the last digit in all of them."""
        return [sum(each) for each in zip(*self.all_gather(values), strict=True)]

    def close(self) -> None:
        """Tell the others that nothing more comes from this worker."""
        self._send(WorkerExitedError)

    def _receive(self, queue: SimpleQueue[Any]) -> Any:
        value = queue.get()
        if value is WorkerExitedError:
            raise WorkerExitedError("another worker has already finished its shard of this batch")
        return value

    def _send(self, value: Any) -> None:
        for queue in self._queues[self.rank]:
            queue.put(value)


class Outcome(NamedTuple):
    """A task's result, or the error that it raised."""

    result: Any
    error: BaseException | None = None


class WorkerGroup:
    """A fixed group of threads; the calling thread is rank 0."""

    def __init__(self, size: int) -> None:
        self._tasks: list[Tasks] = [SimpleQueue() for _ in range(size - 1)]
        for tasks in self._tasks:
            Thread(target=_worker_loop, args=(tasks,), daemon=True).start()

    def __del__(self) -> None:
        for tasks in self._tasks:
            tasks.put(None)

    def run(self, batch_size: int, functions: Sequence[Callable[[Shard], Result]]) -> list[Result]:
        """Split a batch into one shard for each of ``functions``, and call them at once, one per thread.

        With fewer examples than functions, the last functions are not called. Returns the results ordered by rank, or
        raises the first error.
        """
        size = min(len(functions), batch_size)
        if size <= 1:
            return [functions[0](Shard())]
        queues: list[list[SimpleQueue[Any]]] = [[SimpleQueue() for _ in range(size)] for _ in range(size)]
        bounds = [batch_size * rank // size for rank in range(size + 1)]
        shards = [Shard(slice(bounds[rank], bounds[rank + 1]), rank, queues) for rank in range(size)]
        results: list[SimpleQueue[Outcome]] = [SimpleQueue() for _ in range(size - 1)]
        try:
            for rank, result in enumerate(results, 1):  # in this thread's context: what NumPy does on overflow
                task = partial(copy_context().run, _run_task, functions[rank], shards[rank], result)
                self._tasks[rank - 1].put(task)
            first = Outcome(functions[0](shards[0]))
        except WorkerExitedError as error:
            first = Outcome(None, error)
        finally:  # also after an interruption, whenever it comes
            shards[0].close()
        outcomes = [first, *(result.get() for result in results)]
        errors = [outcome.error for outcome in outcomes if outcome.error]
        if errors:  # a WorkerExitedError is only the consequence of another one
            raise next((error for error in errors if not isinstance(error, WorkerExitedError)), errors[0])
        return [outcome.result for outcome in outcomes]


def _run_task(function: Callable[[Shard], Any], shard: Shard, result: SimpleQueue[Outcome]) -> None:
    """Call a function on a shard and put its outcome into ``result``."""
    try:
        result.put(Outcome(function(shard)))
    except BaseException as error:  # for the thread that waits for the result
        result.put(Outcome(None, error))
    finally:
        shard.close()


def _worker_loop(tasks: Tasks) -> None:
    """Run tasks until one is None."""
    while task := tasks.get():
        task()
        del task  # it keeps its replica and its batch alive
