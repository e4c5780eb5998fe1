"""The search: it starts trials while there is room, moves each on by an epoch, and stops those without hope."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from optuna.trial import TrialState
from ray.exceptions import RayError, RayTaskError

from stages.data.idx import Bytes
from stages.engines.config import EngineConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import best_epoch
from stages.tools.cluster.machines import MAX_LOSSES, WAIT_SECONDS, first_line, new_worker, slots
from stages.tools.cluster.node import Environment
from stages.tools.cluster.training import Job, MachineDiffersError, Report
from stages.tools.commands import remembered_interrupts
from stages.tools.sweep.history import History
from stages.tools.sweep.results import format_row
from stages.tools.sweep.space import Space


@dataclass
class Running:
    """A trial and the worker that trains it."""

    trial: optuna.Trial
    config: EngineConfig
    worker: Any = None
    machine: str = ""
    losses: int = 0


class Search:
    """All trials of a sweep, each in a worker of its own, as many at a time as there is room for."""

    def __init__(self, history: History, space: Space, wanted: Environment, raw: tuple[Bytes, Bytes]) -> None:
        self.history, self.space, self.wanted = history, space, wanted
        self.data = ray.put(raw)  # once: each machine fetches it from there
        self.running: dict[Any, Running] = {}  # by what each one's worker is doing

    def run(self) -> None:
        """Search until there are enough trials, or time is up."""
        minutes = self.history.sweep.minutes
        deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        for trial in self.history.unfinished():
            self._begin(trial)
        with remembered_interrupts() as check_interrupts:
            while self._fill() or self.running:
                done, _ = ray.wait(list(self.running), timeout=WAIT_SECONDS)
                for reference in done:
                    self._proceed(reference, self.running.pop(reference))
                check_interrupts()
                if time.monotonic() > deadline:
                    print(f"time is up after {minutes:g} minutes; RESUME=1 goes on with what was running", flush=True)
                    return

    def _fill(self) -> bool:
        """Begin as many trials as there is room for. Returns whether another one may still come."""
        room = self.history.sweep.parallel or slots(self.space.config({}))
        while len(self.running) < room:
            trial = self.history.next_trial()
            if not trial:
                return False
            self._begin(trial)
        return True

    def _begin(self, trial: optuna.Trial) -> None:
        overrides = self.space.suggest(trial)
        trial.set_user_attr("overrides", overrides)
        try:
            each = Running(trial, self.space.config(overrides))
            slots(each.config)
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
            if not isinstance(error.cause, PipelineError | MemoryError):
                raise
            self._end(each, TrialState.FAIL, str(error.cause) or "out of memory")
            return
        except RayError as error:  # its process or its machine is gone
            self._replace(each, error)
            return
        if isinstance(result, str):
            each.machine = result
        elif self._record(each, result):
            return
        self.running[each.worker.advance.remote()] = each

    def _record(self, each: Running, reports: Sequence[Report]) -> bool:
        """Write down an epoch. Returns whether it was the trial's last one."""
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
        else:  # the checkpoint comes last, so that an epoch that a crash kept from being judged comes again
            self.history.save(each.trial, [report.checkpoint for report in reports])
            return False
        return True

    def _replace(self, each: Running, error: RayError) -> None:
        each.losses += 1
        reason = f"lost {each.losses} workers, the last one because {first_line(error)}"
        if each.losses >= MAX_LOSSES:
            self._end(each, TrialState.FAIL, reason)
            return
        print(
            f"trial {each.trial.number}: its worker on {each.machine or 'no machine yet'} is lost; it goes on",
            flush=True,
        )
        self._start(each)

    def _end(self, each: Running, state: TrialState, reason: str = "") -> None:
        ray.kill(each.worker)
        self._finish(each.trial, state, reason, each.machine)

    def _finish(self, trial: optuna.Trial, state: TrialState, reason: str = "", machine: str = "") -> None:
        print(format_row(self.history.end(trial, state, reason, machine)), flush=True)
