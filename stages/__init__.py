"""The stages of the pipeline: each module of this folder is one, run as ``python -m stages.NAME``."""

import os
import sys

if sys.platform == "win32":  # where DVC's shell does not know `exec`, and signals and locks are others
    sys.exit("error: Windows itself is not supported: use WSL, https://learn.microsoft.com/windows/wsl/install")

from stages.pipeline.arithmetic import prepare

# Before anything large is imported, because DVC may end while a stage still imports what it needs, which takes seconds.
PARENT = os.getppid()  # DVC, or the shell of its own that it runs a stage in

if sys.argv[0] == "-m":  # as long as Python looks for the module to run: this process is a stage or a tool
    prepare()
