"""The page of `make draw`: draw a digit and see both networks think, in one file that needs no network."""
