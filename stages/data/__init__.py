"""Where the raw images come from: one module per source, each returning the four IDX files or raising why it cannot."""
