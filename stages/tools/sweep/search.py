"""The search: it starts trials while there is room, moves each on by an epoch, and stops those without hope."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import ray
from optuna.trial import TrialState
from ray.exceptions import RayError, RayTaskError

from stages.data.idx import Bytes
from stages.engines.config import EngineConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import best_epoch
from stages.tools.cluster.errors import cause_of, first_line
from stages.tools.cluster.node import Environment
from stages.tools.cluster.room import MAX_LOSSES, WAIT_SECONDS, Room, new_worker
from stages.tools.cluster.training import Job, MachineDiffersError, Report, Started
from stages.tools.commands import remembered_interrupts
from stages.tools.sweep.history import History
from stages.tools.sweep.rows import Rows
from stages.tools.sweep.space import Space

FIRST_ROW = 60.0  # seconds that a trial runs before it gets a row, and the next one when it has run twice as long


@dataclass
class Running:
    """A trial and the worker that trains it."""

    trial: optuna.Trial
    config: EngineConfig
    worker: Any = None
    machine: str = ""
    losses: int = 0  # of its worker since the last epoch
    began: float = field(default_factory=time.monotonic)
    next_row: float = FIRST_ROW

    def is_row_due(self) -> bool:
        """Whether to show how far a long trial is, ever more rarely."""
        if time.monotonic() - self.began < self.next_row:
            return False
        self.next_row *= 2
        return True


class Search:
    """All trials of a sweep, each in a worker of its own, as many at a time as there is room for."""

    def __init__(
        self, history: History, space: Space, room: Room, wanted: Environment, raw: tuple[Bytes, Bytes]
    ) -> None:
        self.history, self.space, self.room, self.wanted = history, space, room, wanted
        self.data = ray.put(raw)  # once: each machine fetches it from there
        self.running: dict[Any, Running] = {}  # by what each one's worker is doing
        self.smallest = space.smallest()  # which decides how many run at a time
        self.is_waiting = False
        self.rows = Rows(space)

    def run(self) -> None:
        """Search until there are enough trials, or time is up."""
        print(self.rows.header, flush=True)
        minutes = self.history.sweep.minutes
        deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        with remembered_interrupts() as check_interrupts:
            while self._fill() or self.running:
                done, _ = ray.wait(list(self.running), timeout=WAIT_SECONDS)
                for reference in done:
                    self._proceed(reference, self.running.pop(reference))
                check_interrupts()
                if time.monotonic() > deadline:
                    print(
                        f"time is up after {minutes:g} minutes; RESUME=1 goes on, make sweep alone starts anew",
                        flush=True,
                    )
                    return

    def _fill(self) -> bool:
        """Begin as many trials as there is room for. Returns whether another one may still come."""
        slots = self.room.slots(self.smallest)
        if not slots and not self.is_waiting:
            print("no machine has room for a trial now: waiting for one that has", flush=True)
        self.is_waiting = not slots
        while len(self.running) < (self.history.sweep.parallel or max(slots, 1)):
            trial = self.history.next_trial()
            if not trial:
                return False
            self._begin(trial)
        return True

    def _begin(self, trial: optuna.Trial) -> None:
        try:
            each = Running(trial, self.space.config(self.history.suggest(trial, self.space)))
            self.room.check(each.config)
        except PipelineError as error:  # values that do not fit together, or more threads than any machine has cores
            self._finish(trial, TrialState.FAIL, str(error))
            return
        self._start(each)

    def _start(self, each: Running) -> None:
        """Give a trial a worker, which goes on after the last epoch that is known."""
        each.worker = new_worker(each.config)
        checkpoints = self.history.checkpoints(each.trial)
        each.machine = ""
        jobs = [Job(self.space.engine, each.config, seed, self.space.validation_size) for seed in self.history.seeds]
        reference = each.worker.start.remote(self.wanted, jobs, self.data, checkpoints)
        self.running[reference] = each

    def _proceed(self, reference: Any, each: Running) -> None:
        """Take in what a worker has done, and let it train the next epoch."""
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, MachineDiffersError):
                raise error.cause from None
            self._end(each, TrialState.FAIL, cause_of(error))
            return
        except RayError as error:  # its process or its machine is gone
            self._replace(each, error)
            return
        if isinstance(result, Started):
            each.machine = result.machine
            each.trial.set_user_attr("machine", each.machine)
            if result.epochs:
                print(f"trial {each.trial.number} goes on after epoch {result.epochs}, on {each.machine}", flush=True)
        elif self._record(each, result):
            return
        self.running[each.worker.advance.remote()] = each

    def _record(self, each: Running, reports: Sequence[Report]) -> bool:
        """Write down an epoch. Returns whether it was the trial's last one."""
        each.losses = 0
        epochs = [report.epochs for report in reports]
        accuracies = [
            [best_epoch(of_seed[:count]).validation_accuracy for of_seed in epochs]
            for count in range(1, max(map(len, epochs)) + 1)
        ]
        self.history.report(each.trial, accuracies)
        if all(report.is_finished for report in reports):
            self._end(each, TrialState.COMPLETE)
        elif each.trial.should_prune():
            self._end(each, TrialState.PRUNED)
        else:  # the checkpoint comes after the judgement, so that an epoch that a crash kept from it comes again
            self.history.save(each.trial, [report.checkpoint for report in reports])
            if each.is_row_due():
                print(self.rows.row(self.history.frozen(each.trial)), flush=True)
            return False
        return True

    def _replace(self, each: Running, error: RayError) -> None:
        each.losses += 1
        reason = f"lost {each.losses} workers in one epoch, the last one because {first_line(error)}"
        if each.losses >= MAX_LOSSES:
            self._end(each, TrialState.FAIL, reason)
            return
        print(f"lost the worker of trial {each.trial.number} on {each.machine or 'no machine yet'}", flush=True)
        self._start(each)

    def _end(self, each: Running, state: TrialState, reason: str = "") -> None:
        ray.kill(each.worker)
        self._finish(each.trial, state, reason)

    def _finish(self, trial: optuna.Trial, state: TrialState, reason: str = "") -> None:
        print(self.rows.row(self.history.end(trial, state, reason)), flush=True)
