"""The figures, one module each: every ``draw`` takes the data that it shows and returns a matplotlib figure."""
