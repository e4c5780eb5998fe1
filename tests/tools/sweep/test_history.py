"""The sweep's folder after a crash at any moment: the search goes on as if there had been none."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from stages.engines.config import Config
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from stages.tools.sweep.history import JOURNAL, TABLE, History
from stages.tools.sweep.space import Overrides, Space, Sweep
from tests.imports import ROOT

SWEEP, PARAMS = load_config(Sweep, ROOT / "sweep.yaml"), load_config(Config, ROOT / "params.yaml")
SPACE = Space(SWEEP, PARAMS)


def history(sampler: str = "tpe", resume: bool = True) -> History:
    sweep = SWEEP.model_copy(update={"sampler": sampler, "seeds": 2})
    opened = History(sweep, range(1, 3), "identity", resume)
    opened.begin()
    return opened


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new_trial(opened: History) -> optuna.Trial:
    trial = opened.next_trial()
    assert trial
    return trial


def tried(opened: History, trials: int) -> list[Overrides]:
    """Several trials to their end, whose accuracy their learning rate decides."""
    found = []
    for _ in range(trials):
        trial = new_trial(opened)
        found.append(opened.suggest(trial, SPACE))
        opened.report(trial, [[1 - found[-1]["optimizer.learning_rate"]] * 2])
        opened.end(trial, optuna.trial.TrialState.COMPLETE, "")
    return found


class CrashError(Exception):
    """In the middle of a trial's choice."""


class Crashing(Space):
    """A space that ends the command after some values."""

    known = 0

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        if len(trial.params) == self.known:
            raise CrashError
        return super().suggest(trial, key)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("known", range(4))
def test_a_trial_of_which_a_crash_left_some_values_gets_the_others(sampler: str, known: int) -> None:
    """TPE draws at random for its first ten trials, and looks at them for the next."""
    *_, undisturbed = tried(history(sampler, resume=False), 13)
    TABLE.touch()  # for the next one to take its place
    opened = history(sampler, resume=False)
    tried(opened, 12)
    crashing = Crashing(SWEEP, PARAMS)
    crashing.known = known
    with pytest.raises(CrashError):
        opened.suggest(new_trial(opened), crashing)
    del opened
    opened = history(sampler)
    trial = new_trial(opened)
    assert (trial.number, len(trial.params)) == (12, known)
    assert opened.suggest(trial, SPACE) == undisturbed


def test_a_line_that_was_written_in_part_is_dropped() -> None:
    opened = history(resume=False)
    tried(opened, 3)
    del opened
    JOURNAL.write_bytes(JOURNAL.read_bytes()[:-5])
    opened = history()
    tried(opened, 2)  # the one whose end was not written, and another
    del opened
    assert [trial.state.name for trial in history().study.trials] == ["COMPLETE"] * 4


def test_a_sweep_that_goes_on_is_not_overwritten() -> None:
    tried(history(resume=False), 2)
    TABLE.touch()  # it ended
    tried(history(), 1)
    with pytest.raises(PipelineError, match="holds a sweep that has not ended; RESUME=1 goes on with it"):
        history(resume=False)
    with pytest.raises(PipelineError, match="RESUME=1 needs the"):
        History(SWEEP, [1, 2], "another", True)
    assert len(history().study.trials) == 3


def test_checkpoints_of_all_seeds_are_from_the_same_epoch() -> None:
    opened = history(resume=False)
    trial = new_trial(opened)
    assert opened.checkpoints(trial) == [b"", b""]
    opened.save(trial, [b"one\n", b"another"])
    assert opened.checkpoints(trial) == [b"one\n", b"another"]
    assert [path.name for path in Path("sweep/checkpoints").iterdir()] == ["0.checkpoint"]


def test_two_commands_at_once_are_refused() -> None:
    opened = history(resume=False)
    with pytest.raises(PipelineError, match="another make sweep is running here"):
        history()
    assert opened.study.trials == []
