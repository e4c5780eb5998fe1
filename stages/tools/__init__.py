"""What make targets run beside the pipeline; no stage imports any of it."""
