"""The page of `make plots`: all charts and figures, metrics and parameters, in one file that needs no network."""
