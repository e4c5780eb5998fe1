"""sweep.yaml: what is searched, and the config of one point of it."""

import json
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Literal

from optuna import Trial
from pydantic import Field, ValidationError

from stages.engines.config import ENGINES, SHARED, Config, EngineConfig, merge
from stages.pipeline.config import Section
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import parse, validate

Overrides = dict[str, Any]  # such as {"optimizer.learning_rate": 0.01}


class Range(Section):
    """All numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False


class Sweep(Section):
    """The search, but for what stands in params.yaml."""

    engine: str
    trials: Annotated[int, Field(ge=1, le=100_000)]
    minutes: Annotated[float, Field(ge=0, le=1e6)]
    seeds: Annotated[int, Field(ge=1, le=100)]
    parallel: Annotated[int, Field(ge=0, le=10_000)]
    sampler: Literal["tpe", "random"]
    pruner: Literal["asha", "none"]
    grace_epochs: Annotated[int, Field(ge=1, le=10_000)]
    reduction_factor: Annotated[int, Field(ge=2, le=100)]
    space: Annotated[dict[str, Any], Field(min_length=1)]


class Space:
    """The checked search space: for each key, a list of choices or a range."""

    def __init__(self, sweep: Sweep, params: Config) -> None:
        """Raise PipelineError, with one line, for what params.yaml could not hold."""
        if sweep.engine not in ENGINES:
            raise PipelineError(f"engine: must be one of {' or '.join(ENGINES)}, got {sweep.engine!r}")
        self.engine, self.params = sweep.engine, params
        self.validation_size = params.preprocess.validation_size
        self.dimensions = {self._key(name): self._dimension(name, given) for name, given in sweep.space.items()}
        if len(self.dimensions) < len(sweep.space):
            raise PipelineError("space: a key stands twice, with and without its engine")

    def config(self, overrides: Mapping[str, Any]) -> EngineConfig:
        """The engine's config with some keys set. Raises PipelineError where they do not fit together."""
        return validate(Config, self._content(overrides)).engine(self.engine)

    def smallest(self) -> EngineConfig:
        """The config that takes least of a machine."""
        threads, device = self.dimensions.get("threads"), self.dimensions.get("device")
        overrides: Overrides = {"device": "cpu"} if isinstance(device, list) and "cpu" in device else {}
        if threads:
            overrides["threads"] = int(threads.low) if isinstance(threads, Range) else min(threads)
        return self.config(overrides)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value that the sampler chooses for a key, floats to four digits."""
        dimension = self.dimensions[key]
        if isinstance(dimension, list):  # of which Optuna wants scalars
            named = {json.dumps(each) if isinstance(each, list) else each: each for each in dimension}
            return named[trial.suggest_categorical(key, list(named))]
        if isinstance(self._default(key), int):
            return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
        value = float(f"{trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log):.4g}")
        return min(max(value, dimension.low), dimension.high)

    def _content(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        content = self.params.model_dump()
        for key, value in overrides.items():
            section, _, name = key.rpartition(".")
            content[self.engine] = merge(content[self.engine], {section: {name: value}} if section else {name: value})
        return content

    def _key(self, name: str) -> str:
        """A key of the engine's config, without the engine's name. Raises PipelineError for another one."""
        key = name.removeprefix(f"{self.engine}.")
        if key == name and name.partition(".")[0] not in SHARED:
            sections = ", ".join((*SHARED, self.engine))
            raise PipelineError(f"space.{name}: must be a key of {sections}, because trials differ in nothing else")
        value: Any = self.params.engine(self.engine)
        for part in key.split("."):
            keys = list(type(value).model_fields) if isinstance(value, Section) else []
            if part not in keys:
                raise PipelineError(f"space.{name}: unknown key; the keys here are {', '.join(keys) or 'none'}")
            value = getattr(value, part)
        if isinstance(value, Section):
            raise PipelineError(f"space.{name}: is a section; its keys are {', '.join(type(value).model_fields)}")
        return key

    def _default(self, key: str) -> Any:
        """What params.yaml has for a key."""
        return reduce(getattr, key.split("."), self.params.engine(self.engine))

    def _dimension(self, name: str, given: Any) -> "list[Any] | Range":
        """A checked list or range."""
        if isinstance(given, list) and given:
            self._check(name, given)
            return given
        if not isinstance(given, dict):
            raise PipelineError(f"space.{name}: must be a list of choices or {{low: ..., high: ...}}, got {given!r}")
        try:
            dimension = parse(Range, given)
        except PipelineError as error:
            raise PipelineError(f"space.{name}.{error}") from None
        self._check_range(name, dimension)
        return dimension

    def _check_range(self, name: str, dimension: Range) -> None:
        default = self._default(self._key(name))
        if isinstance(default, bool) or not isinstance(default, int | float):
            raise PipelineError(f"space.{name}: has no range, as its values are no numbers; give a list of choices")
        given = dimension.model_dump_json().replace('"', "")
        if dimension.low >= dimension.high or (dimension.log and dimension.low <= 0):
            raise PipelineError(f"space.{name}: low must be below high, and with log above 0; got {given}")
        ends = [dimension.low, dimension.high]
        if isinstance(default, int):
            if not all(end.is_integer() for end in ends):
                raise PipelineError(f"space.{name}: low and high must be integers, got {given}")
            ends = [int(end) for end in ends]
        self._check(name, ends)

    def _check(self, name: str, values: list[Any]) -> None:
        """Raise PipelineError for a value that its key cannot have; what others forbid may be right together."""
        for value in values:
            content = self._content({self._key(name): value})
            try:
                Config.model_validate(content)
            except ValidationError as error:
                if any(each["type"] != "value_error" for each in error.errors()):
                    try:
                        validate(Config, content)
                    except PipelineError as problem:
                        rest = str(problem).removeprefix(f"{self.engine}.{self._key(name)}")
                        raise PipelineError(f"space.{name}{rest}") from None
