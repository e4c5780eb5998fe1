"""What Ray's exceptions say, in one line."""

from ray.exceptions import RayTaskError

from stages.pipeline.errors import PipelineError


def first_line(error: BaseException) -> str:
    """The beginning of a message of Ray's, which can be long."""
    return " ".join(str(error).split())[:300]


def cause_of(error: RayTaskError) -> str:
    """What a worker raised, in one line."""
    cause = error.cause
    if isinstance(cause, PipelineError):
        return str(cause)
    return "out of memory" if isinstance(cause, MemoryError) else f"{type(cause).__name__}: {first_line(cause)}"
