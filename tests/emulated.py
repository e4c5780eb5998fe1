"""Stages one after another in one process, because an emulated processor takes half a minute to import PyTorch.

``python -m tests.emulated FOLDER STAGE[,ENGINE] ...`` runs them in FOLDER, each as ``python -m stages.STAGE ENGINE``.
"""

import os
import sys
from importlib import import_module

from stages.pipeline import arithmetic


def main() -> None:
    """Run the stages that the command line names."""
    _, folder, *stages = sys.argv
    os.chdir(folder)
    arithmetic.prepare()  # as stages/__init__.py does for a stage of its own process
    for stage in stages:
        name, *sys.argv[1:] = stage.split(",")
        import_module(f"stages.{name}").main()


if __name__ == "__main__":
    main()
