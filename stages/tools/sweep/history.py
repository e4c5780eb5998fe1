"""The sweep's folder: every trial in Optuna's journal, and the checkpoints of those that have not ended."""

import shutil
from collections.abc import Sequence
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
from stages.tools.sweep.space import Sweep

FOLDER = Path("sweep")
JOURNAL, CHECKPOINTS = FOLDER / "journal.log", FOLDER / "checkpoints"
TABLE, FIGURE = FOLDER / "trials.csv", FOLDER / "trials.png"


class History:
    """All trials of a sweep, on disk after every epoch, so that a crash costs no more than the epochs then running."""

    def __init__(self, sweep: Sweep, seeds: Sequence[int], identity: str, resume: bool) -> None:
        """Begin a sweep, or go on with the one in the folder.

        ``identity`` stands for all that a trial depends on. Raises PipelineError for a sweep of another identity, and
        rather than overwrite one that has not ended.
        """
        self.sweep, self.seeds = sweep, seeds
        FOLDER.mkdir(exist_ok=True)
        self._lock = FileLock(FOLDER / ".lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise PipelineError(f"{FOLDER}: another make sweep is running here") from None
        if resume and not JOURNAL.exists():
            raise PipelineError(f"{FOLDER}: holds no sweep to go on with")
        if not resume:
            _make_room()
        self.study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(JOURNAL), lock_obj=_NoLock())),
            study_name="sweep",
            direction="maximize",
            pruner=make_pruner(sweep),
            load_if_exists=True,
        )
        if self.study.user_attrs.get("identity", identity) != identity:
            raise PipelineError(f"{FOLDER}: is a sweep of another sweep.yaml, params.yaml, code or data")
        self.study.set_user_attr("identity", identity)

    def unfinished(self) -> list[optuna.Trial]:
        """The trials that were running when an earlier command ended."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [optuna.Trial(self.study, trial._trial_id) for trial in trials]

    def next_trial(self) -> optuna.Trial | None:
        """A new one, unless there are enough. With one at a time, what it is depends on those before it alone."""
        number = len(self.study.get_trials(deepcopy=False))
        if number >= self.sweep.trials:
            return None
        self.study.sampler = make_sampler(self.sweep, [self.seeds[0], number])
        return self.study.ask()

    def checkpoints(self, trial: optuna.Trial) -> list[bytes]:
        """That of each seed, empty before the first epoch."""
        paths = [checkpoint_path(trial.number, seed) for seed in self.seeds]
        return [path.read_bytes() if path.exists() else b"" for path in paths]

    def report(self, trial: optuna.Trial, accuracies: Sequence[Sequence[float]]) -> None:
        """Write down the best validation accuracies up to each epoch, in the order of the seeds."""
        known = len(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        for epoch, each in enumerate(accuracies[known:], known + 1):
            trial.report(float(np.mean(each)), epoch)
        trial.set_user_attr("accuracies", list(accuracies[-1]))

    def save(self, trial: optuna.Trial, checkpoints: Sequence[bytes]) -> None:
        """Keep what any worker can go on from."""
        for seed, checkpoint in zip(self.seeds, checkpoints, strict=True):
            write_bytes(checkpoint_path(trial.number, seed), checkpoint)

    def end(self, trial: optuna.Trial, state: TrialState, reason: str, machine: str) -> FrozenTrial:
        """Write down how and where a trial ended, and remove its checkpoints."""
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("machine", machine)
        value = float(np.mean(trial.user_attrs["accuracies"])) if state == TrialState.COMPLETE else None
        ended = self.study.tell(trial, value, state)
        for seed in self.seeds:
            checkpoint_path(trial.number, seed).unlink(missing_ok=True)
        return ended


def make_pruner(sweep: Sweep) -> BasePruner:
    """Asynchronous successive halving (Li et al. 2018), or nothing that stops a trial."""
    if not sweep.reduction_factor:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=sweep.grace_epochs, reduction_factor=sweep.reduction_factor)


def make_sampler(sweep: Sweep, entropy: Sequence[int]) -> BaseSampler:
    """The sampler of one trial, which would draw the same after a crash."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    return RandomSampler(seed=seed) if sweep.sampler == "random" else TPESampler(seed=seed, constant_liar=True)


def checkpoint_path(number: int, seed: int) -> Path:
    """Where a trial's training with one seed stands."""
    return CHECKPOINTS / f"{number}-{seed}.npz"


def _make_room() -> None:
    if JOURNAL.exists() and not TABLE.exists():  # which is written at the end
        raise PipelineError(
            f"{FOLDER}: holds a sweep that has not ended; RESUME=1 goes on with it, or remove the folder"
        )
    shutil.rmtree(CHECKPOINTS, ignore_errors=True)
    for path in (JOURNAL, TABLE, FIGURE):
        path.unlink(missing_ok=True)


class _NoLock:
    """For the journal, because the folder's lock lets one command in; Optuna's own would outlive one that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
