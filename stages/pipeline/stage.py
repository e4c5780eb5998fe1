"""How a stage starts, how it fails, and how it stops when what started it is gone."""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from threadpoolctl import threadpool_limits

from stages import INTERRUPTED, PARENT
from stages.pipeline.errors import PipelineError

_WATCH_SECONDS = 0.2  # DVC takes longer than this to start again


def run(main: Callable[[], None]) -> None:
    """Run a stage; what a user can cause or mend ends it with one line and exit status 1, without a traceback."""
    over = threading.Event()
    try:
        # As after Ctrl-C, what is half-written is then removed on the way out.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        if "DVC_STAGE" in os.environ:  # by hand, a stage may well outlive its shell
            threading.Thread(target=_stop_without_parent, args=(over,), daemon=True).start()
        # One thread, unless the stage asks for more: more add numbers in another order, as many as the machine has.
        with _alone(Path(main.__code__.co_filename)), threadpool_limits(1):
            main()
    except (PipelineError, OSError) as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit("error: out of memory; make the network, the batch or the data smaller")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        over.set()
        for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C would print a traceback over the last line
            signal.signal(number, signal.SIG_IGN)


def _stop_without_parent(over: threading.Event) -> None:
    """End this process when its parent ends before it: who kills DVC alone leaves its stage running.

    Its late outputs would overwrite those of the next run, perhaps of other parameters.
    """
    while os.getppid() == PARENT:
        if over.wait(_WATCH_SECONDS):
            return
    with suppress(OSError):  # the terminal may be gone as well
        os.write(2, b"error: stopped, because DVC was; run `dvc repro` to begin this stage again\n")
    os._exit(1)  # at once, whatever the main thread is doing: outputs are whole or absent at any moment


@contextmanager
def _alone(module: Path) -> Iterator[None]:
    """Hold the stage's own source file locked, so that no other run of the stage writes the same outputs meanwhile.

    The system lets go of the lock when the process ends, however it ends.
    """
    with module.open("rb+") as source:  # NFS locks only what is open for writing
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run of this stage to end", file=sys.stderr, flush=True)
            fcntl.flock(source, fcntl.LOCK_EX)
        yield
