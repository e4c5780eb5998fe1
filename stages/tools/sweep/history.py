"""The sweep's folder: every trial in Optuna's journal, and the checkpoints of those that have not ended."""

import json
import os
import shutil
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.tools.sweep.space import Overrides, Space, Sweep

FOLDER = Path("sweep")
JOURNAL, CHECKPOINTS = FOLDER / "journal.log", FOLDER / "checkpoints"
TABLE, FIGURE = FOLDER / "trials.csv", FOLDER / "trials.png"


class History:
    """All trials of a sweep, on disk after every epoch, so that a crash costs no more than the epochs then running."""

    def __init__(self, sweep: Sweep, seeds: Sequence[int], identity: str, resume: bool) -> None:
        """Reserve the folder for a new sweep, or to go on with the one in it.

        ``identity`` stands for all that a trial depends on. Raises PipelineError for a sweep of another identity, and
        rather than replace one that has not ended.
        """
        self.sweep, self.seeds, self.identity, self.resume = sweep, seeds, identity, resume
        if resume and not JOURNAL.exists():
            raise PipelineError(f"{FOLDER}: holds no sweep to go on with")
        FOLDER.mkdir(exist_ok=True)
        self._lock = FileLock(FOLDER / ".lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise PipelineError(f"{FOLDER}: another make sweep is running here") from None
        if resume:
            _mend_journal()
            self._open()
        elif JOURNAL.exists() and not TABLE.exists():  # which is written at the end
            raise PipelineError(
                f"{FOLDER}: holds a sweep that has not ended; RESUME=1 goes on with it; remove {JOURNAL} for a new one"
            )

    def begin(self) -> None:
        """Replace what an earlier sweep left, unless this one goes on with it."""
        if not self.resume:
            shutil.rmtree(CHECKPOINTS, ignore_errors=True)
            for path in (JOURNAL, FIGURE):
                path.unlink(missing_ok=True)
            self._open()
        TABLE.unlink(missing_ok=True)

    def _open(self) -> None:
        self.study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(JOURNAL), lock_obj=_NoLock())),
            study_name="sweep",
            direction="maximize",
            pruner=make_pruner(self.sweep),
            load_if_exists=True,
        )
        if self.study.user_attrs.get("identity", self.identity) != self.identity:
            raise PipelineError(
                f"{FOLDER}: RESUME=1 needs the sweep.yaml, params.yaml, code and data that it began with"
            )
        self.study.set_user_attr("identity", self.identity)
        self._unfinished = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def next_trial(self) -> optuna.Trial | None:
        """One that was running when an earlier command ended, or a new one, unless there are enough."""
        unfinished = self._unfinished.pop(0) if self._unfinished else None
        number = unfinished.number if unfinished else len(self.study.get_trials(deepcopy=False))
        if not unfinished and number >= self.sweep.trials:
            return None
        self.study.sampler = make_sampler(self.sweep, [self.seeds[0], number])
        # Optuna has no public way back to a trial.
        return optuna.Trial(self.study, unfinished._trial_id) if unfinished else self.study.ask()

    def suggest(self, trial: optuna.Trial, space: Space) -> Overrides:
        """A trial's values. With one trial at a time, they depend on those before it alone, also after a crash."""
        overrides = {}
        for index, key in enumerate(space.dimensions):
            if key not in trial.relative_params:  # which are drawn together; others one by one, some before a crash
                self.study.sampler = make_sampler(self.sweep, [self.seeds[0], trial.number, index])
            overrides[key] = space.suggest(trial, key)
        trial.set_user_attr("overrides", overrides)
        return overrides

    def checkpoints(self, trial: optuna.Trial) -> list[bytes]:
        """That of each seed, empty before the first epoch."""
        path = checkpoint_path(trial)
        if not path.exists():
            return [b""] * len(self.seeds)
        header, _, content = path.read_bytes().partition(b"\n")
        sizes = json.loads(header)
        return [content[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]

    def report(self, trial: optuna.Trial, accuracies: Sequence[Sequence[float]]) -> None:
        """Write down the best validation accuracies up to each epoch, in the order of the seeds."""
        known = len(self.frozen(trial).intermediate_values)
        for epoch, each in enumerate(accuracies[known:], known + 1):
            trial.report(float(np.mean(each)), epoch)
        trial.set_user_attr("accuracies", list(accuracies[-1]))

    def save(self, trial: optuna.Trial, checkpoints: Sequence[bytes]) -> None:
        """Keep what any worker can go on from: a line with their sizes, then the checkpoints of all seeds."""
        header = json.dumps([len(each) for each in checkpoints]).encode()
        write_bytes(checkpoint_path(trial), b"".join([header, b"\n", *checkpoints]))

    def frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """What is written down of a trial."""
        return self.study.get_trials(deepcopy=False)[trial.number]

    def end(self, trial: optuna.Trial, state: TrialState, reason: str) -> FrozenTrial:
        """Write down how a trial ended, and remove its checkpoints."""
        trial.set_user_attr("reason", reason)
        value = float(np.mean(trial.user_attrs["accuracies"])) if state == TrialState.COMPLETE else None
        ended = self.study.tell(trial, value, state)
        checkpoint_path(trial).unlink(missing_ok=True)
        return ended


def make_pruner(sweep: Sweep) -> BasePruner:
    """Asynchronous successive halving (Li et al. 2018), or nothing that stops a trial."""
    if sweep.pruner == "none":
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=sweep.grace_epochs, reduction_factor=sweep.reduction_factor)


def make_sampler(sweep: Sweep, entropy: Sequence[int]) -> BaseSampler:
    """A sampler that draws the same after a crash."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    return RandomSampler(seed=seed) if sweep.sampler == "random" else TPESampler(seed=seed, constant_liar=True)


def checkpoint_path(trial: optuna.Trial) -> Path:
    """The file of a trial's checkpoints."""
    return CHECKPOINTS / f"{trial.number}.checkpoint"


def _mend_journal() -> None:
    """Cut off a line that was written in part, as a full disk leaves it."""
    content = JOURNAL.read_bytes()
    os.truncate(JOURNAL, content.rfind(b"\n") + 1)


class _NoLock:
    """For the journal, because the folder's lock lets one command in; Optuna's own would outlive one that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
