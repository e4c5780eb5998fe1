"""The one exception that a user sees."""


class PipelineError(Exception):
    """An error the user can fix; the message says what is wrong, where, and how to fix it."""
