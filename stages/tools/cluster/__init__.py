"""Training on the machines of a Ray cluster, or on this one: the same bytes wherever it runs."""
