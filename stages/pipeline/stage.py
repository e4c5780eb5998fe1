"""How a stage starts, how it fails, and how it stops when what started it is gone."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

from stages import PARENT
from stages.pipeline import arithmetic
from stages.pipeline.config import BaseConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config

_POLL_SECONDS = 0.2  # DVC takes longer than this to start again


def run(main: Callable[[], None]) -> None:
    """Run a stage, if params.yaml is valid; what a user can cause or fix ends it with one line and exit status 1."""
    finished = threading.Event()
    try:
        # SIGTERM as Ctrl-C: what is half-written is then removed on the way out. What the parent ignores stays ignored.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        if "DVC_STAGE" in os.environ:  # by hand, a stage may well outlive its shell
            threading.Thread(target=_exit_without_parent, args=(finished,), daemon=True).start()
        if warning := arithmetic.warning(load_config(BaseConfig).arithmetic):
            print(f"note: {warning}", file=sys.stderr)
        main()
    except (PipelineError, OSError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        sys.exit(f"error: {error.name} is not installed; `make` installs it, `make scratch` does without")
    except MemoryError:
        sys.exit("error: out of memory; make the network, the batch or the data smaller")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run `dvc repro` to start this stage again")
    finally:
        finished.set()
        for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C would print a traceback over the last line
            signal.signal(number, signal.SIG_IGN)


def _exit_without_parent(finished: threading.Event) -> None:
    """End this process when its parent ends first: killing DVC alone leaves its stage running.

    Its late outputs would overwrite those of the next run, perhaps of another config.
    """
    while os.getppid() == PARENT:
        if finished.wait(_POLL_SECONDS):
            return
    with suppress(OSError):  # the terminal may be gone as well
        os.write(2, b"error: stopped, because DVC was; run `dvc repro` to start this stage again\n")
    os._exit(1)  # at once, whatever the main thread is doing: outputs are whole or absent at any moment


def engine_argument(engines: Collection[str]) -> str:
    """Return the engine named on the command line. Raises PipelineError for anything else."""
    if len(sys.argv) != 2 or sys.argv[1] not in engines:
        raise PipelineError(f"name an engine: {' or '.join(engines)}")
    return sys.argv[1]
