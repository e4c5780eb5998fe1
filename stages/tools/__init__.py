"""What `make plots` and `make gate` do. No stage runs any of it."""
