"""The stages of the pipeline: each module of this folder is one, run as ``python -m stages.NAME``."""

import os

# Before anything else is imported, because DVC may end while a stage still imports what it needs, which takes seconds.
PARENT = os.getppid()  # DVC, or the shell of its own that it runs a stage in
