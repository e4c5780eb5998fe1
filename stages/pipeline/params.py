"""Reads params.yaml and files like it; an unknown key, a wrong type or a value out of range stops it with one line."""

import json
import re
import reprlib
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from stages.pipeline.config import Section
from stages.pipeline.errors import PipelineError

_TYPES = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "model_type": "a section of `key: value` lines",
    "finite_number": "a finite number",
    "invalid_key": "text, as every key",
    "string_unicode": "text in Unicode",
}
_BOUNDS = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "min_length": "of a length >=",
    "max_length": "of a length <=",
}
# A float of YAML 1.2 that ruamel.yaml takes for text, such as .5e1: https://yaml.org/spec/1.2.2/#1032-tag-resolution
_FLOAT = re.compile(r"[-+]?\.[0-9]+[eE][0-9]+$")
_REPR = reprlib.Repr()  # stays short even where aliases make a small file a huge value
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, 60, 60
_Config = TypeVar("_Config", bound=Section)


def load_config(config: type[_Config], path: Path = Path("params.yaml")) -> _Config:
    """Read params.yaml and validate what ``config`` has of it.

    Raises PipelineError with one line that names the key and what is allowed.
    """
    return validate(config, _read(path))


def validate(model: type[_Config], content: Mapping[Any, Any]) -> _Config:
    """Return the config of a file's content, which must give every key. Raises PipelineError as :func:`parse`."""
    config = parse(model, content)
    for key in _missing(config):
        raise PipelineError(f"{key}: missing; it must be given")
    return config


def parse(model: type[_Config], content: Mapping[Any, Any]) -> _Config:
    """Return the config of a section's content.

    Raises PipelineError with one line that names the key, what is allowed and the value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a misspelled key first
        raise PipelineError(_format_error(model, errors[0])) from None


def _read(path: Path) -> dict[Any, Any]:
    """The top level of a YAML 1.2 file, which is what DVC reads and writes: ``1e-5`` is a number."""
    try:
        yaml = YAML(typ="safe", pure=True)
        for character in "-+.":  # with which such a number begins
            yaml.resolver.versioned_resolver.setdefault(character, []).append(("tag:yaml.org,2002:float", _FLOAT))
        content = yaml.load(path.read_bytes())
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}; run from the project's folder") from None
    except Exception as error:  # ruamel.yaml lets through what dates, numbers, tags and deep nesting raise
        raise PipelineError(f"{path}: not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: must hold `key: value` lines, got {_format_value(content)}")
    return content


def _yaml_problem(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MarkedYAMLError) and error.problem and error.problem_mark:
        text = f"{error.problem}, line {error.problem_mark.line + 1}"
    return textwrap.shorten(text, 300, placeholder=" ...") or type(error).__name__


def _missing(section: Section, path: str = "") -> Iterator[str]:
    """The full name of each key that the file does not give."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in section.model_fields_set:
            yield path + name
        elif isinstance(value, Section):
            yield from _missing(value, f"{path}{name}.")


def _format_error(model: type[Section], error: ErrorDetails) -> str:
    """One error as ``section.key: what is allowed, got value``."""
    key = ".".join(map(_name, error["loc"]))
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        keys = ", ".join(_keys(model, error["loc"][:-1]))
        return f"{key}: unknown key, got {_format_value(value)}; the keys here are {keys}"
    if kind == "missing":
        return f"{key}: missing; it must be given"
    if kind == "value_error":
        return f"{key}.{context['error']}"
    if kind == "literal_error":
        allowed = "one of " + str(context["expected"]).replace("'", "")
    else:
        limits = [(sign, context[name]) for name, sign in _BOUNDS.items() if name in context]
        bounds = [f"{sign} {f'{limit:g}' if isinstance(limit, float) else limit}" for sign, limit in limits]
        allowed = _TYPES.get(kind) or " ".join(bounds) or error["msg"]
    return f"{key}: must be {allowed}, got {_format_value(value)}"


def _keys(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at ``location`` of params.yaml has."""
    section: type[BaseModel] = model
    for name in location:
        section = section.model_fields[str(name)].annotation  # type: ignore[assignment]  # a Section by construction
    return list(section.model_fields)


def _name(key: object) -> str:
    """A key as it stands in the file, where that is a word."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 60 else _format_value(key)


def _format_value(value: object) -> str:
    """The value as one short line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    try:
        text = _REPR.repr(value)
    except ValueError:
        return "a number of more than 4300 digits"
    return text if len(text) <= 60 else text[:57] + "..."
