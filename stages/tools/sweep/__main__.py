"""Search configs on one machine or many: ``python -m stages.tools.sweep [--address HOST:PORT] [--resume]``."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from stages.data.idx import Bytes
from stages.engines.config import Config
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from stages.tools.cluster.connection import cluster
from stages.tools.cluster.data import checksums, fetched
from stages.tools.cluster.machines import wanted_environment
from stages.tools.cluster.node import Environment
from stages.tools.cluster.room import Room
from stages.tools.commands import start
from stages.tools.git import require_in_head
from stages.tools.sweep.history import FIGURE, FOLDER, TABLE, History
from stages.tools.sweep.results import best_trials, overrides_of, write_figure, write_table
from stages.tools.sweep.rows import Rows
from stages.tools.sweep.search import Search
from stages.tools.sweep.space import Space, Sweep
from stages.tools.sweep.winner import run_experiment
from stages.training.checkpoint import code_checksums


def main() -> None:
    """Search, show the best trials, and run the best one as a DVC experiment."""
    options = parse_arguments(sys.argv[1:])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    require_in_head("dvc.yaml", "commit, from which the best trial's experiment could start")
    params, sweep = load_config(Config), load_config(Sweep, options.space)
    space, seeds = Space(sweep, params), range(params.seed, params.seed + sweep.seeds)
    wanted = wanted_environment([sweep.engine], params.arithmetic)
    raw = fetched("train")
    history = History(sweep, seeds, identity(sweep, params, wanted, raw), options.resume)
    with cluster(options.address, wanted):
        room = Room()
        room.check(space.smallest())
        parallel = sweep.parallel or max(room.slots(space.smallest()), 1)
        print(f"{sweep.trials} trials of {sweep.engine}, {parallel} at a time, in {FOLDER}", flush=True)
        history.begin()
        with resumable():
            Search(history, space, room, wanted, raw).run()
    with resumable():
        best = report(history, Rows(space))
        if identity(sweep, load_config(Config), wanted, raw) != history.identity:
            raise PipelineError("params.yaml or code is not what it was: change it back, then make sweep RESUME=1")
        run_experiment(sweep.engine, overrides_of(best), params)


@contextmanager
def resumable() -> Iterator[None]:
    """Say what to do after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; make sweep RESUME=1 goes on", file=sys.stderr)
        raise


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a Ray cluster's address may also stand in RAY_ADDRESS, as for Ray's own commands."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.sweep", description=main.__doc__)
    parser.add_argument("space", nargs="?", type=Path, default=Path("sweep.yaml"), help="default: sweep.yaml")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="HOST:PORT or ray://HOST:PORT")
    parser.add_argument("--resume", action="store_true", help="go on with the sweep that was stopped")
    return parser.parse_args(arguments)


def identity(sweep: Sweep, params: Config, wanted: Environment, raw: tuple[Bytes, Bytes]) -> str:
    """All that a trial depends on, but for how many there are and where they run."""
    settings = sweep.model_dump(exclude={"trials", "minutes", "parallel"})
    return json.dumps([settings, params.model_dump(), wanted, checksums(raw), code_checksums()])


def report(history: History, rows: Rows) -> FrozenTrial:
    """Write the table and the figure, and print the best trials; returns the best one."""
    best = best_trials(history.study)
    write_table(TABLE, history.study, history.seeds)
    if not best or best[0].state != TrialState.COMPLETE:
        raise PipelineError(f"no trial ran to its end: {TABLE} has them all")
    write_figure(FIGURE, history.study)
    print(f"the best {len(best)} of {len(history.study.trials)} trials, by validation accuracy:", flush=True)
    print(rows.header, *map(rows.row, best), sep="\n", flush=True)
    print(f"all of them: {TABLE}, {FIGURE}", flush=True)
    return best[0]


if __name__ == "__main__":
    start(main)
