"""The stages of the pipeline: each module of this folder is one, run as ``python -m stages.NAME``."""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

# First of all, because DVC may end while a stage still imports what it needs, which takes seconds.
PARENT = os.getppid()  # DVC, or the shell of its own that it runs a stage in
INTERRUPTED = "error: interrupted; run `dvc repro` to begin this stage again"


def _end_at_once(_signal: int, _frame: object) -> NoReturn:
    """End with one line in place of a traceback out of some import; as yet there is nothing to tidy up."""
    with suppress(OSError):  # the terminal may be gone
        os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(1)


if sys.argv[0] == "-m":  # so it stands while `python -m stages.NAME` is being looked for, and at no other time
    for _signal in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_signal) != signal.SIG_IGN:  # nohup's wish is kept
            signal.signal(_signal, _end_at_once)
