"""A search over the keys of params.yaml, on one machine or many: ``python -m stages.tools.sweep``."""
