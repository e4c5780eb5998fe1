"""Where the raw digits come from: one module a source, each giving the four IDX files' contents or saying why not."""
