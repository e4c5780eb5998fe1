"""What predictions are worth: metrics and figures. Training knows nothing of it."""
