"""Whether a machine of the cluster computes what this one does; it runs there, before anything large is imported."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from stages.pipeline.arithmetic import KERNELS, THREADS_AND_PRECISION, can_pin, environment_values


class Environment(NamedTuple):
    """What the bytes of a training depend on."""

    python: str
    packages: dict[str, str]
    can_pin: bool
    variables: dict[str, str | None]


def environment(packages: Sequence[str]) -> Environment:
    """That of this process. Of Python's version, what lies behind major and minor changes no result."""
    python = ".".join(platform.python_version_tuple()[:2])
    variables = environment_values(THREADS_AND_PRECISION | KERNELS)
    return Environment(python, {name: _version(name) for name in packages}, can_pin(), variables)


def differences(found: Environment, wanted: Environment) -> list[str]:
    """How a machine's environment differs from the one that is wanted, each in a few words."""
    pairs: list[tuple[str, str, str]] = [("Python", found.python, wanted.python)]
    pairs += [(name, found.packages[name], version_here) for name, version_here in wanted.packages.items()]
    has_avx2, must_have = ("present" if each.can_pin else "absent" for each in (found, wanted))
    pairs += [("AVX2 and FMA", has_avx2, must_have)]
    pairs += [(name, found.variables[name] or "unset", value or "unset") for name, value in wanted.variables.items()]
    return [f"{name} is {there}, must be {here}" for name, there, here in pairs if there != here]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
