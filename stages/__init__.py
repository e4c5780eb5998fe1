"""The stages of the pipeline: each module of this folder is one, run as ``python -m stages.NAME``."""
