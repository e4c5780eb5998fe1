"""params.yaml as validated types: an unknown key, a wrong type or a value out of range stops before any work."""

import json
import re
import reprlib
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

from stages.pipeline.errors import PipelineError
from stages.pipeline.stage import run

Fraction = Annotated[float, Field(ge=0, le=1)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Units = Annotated[int, Field(ge=1, le=10_000)]
Channels = Annotated[int, Field(ge=1, le=1000)]
Share = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[float, Field(ge=0, le=28)]
Digits = Annotated[int, Field(ge=10, le=1_000_000)]

Source = Literal["torchvision", "package_index", "directory", "synthetic"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu"]
Initialization = Literal["xavier_uniform", "xavier_normal", "he_uniform", "he_normal"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "one_cycle"]

CLASSIFIER_OPTIONS = (
    "channels",
    "hidden",
    "activation",
    "batch_norm",
    "dropout",
    "initialization",
    "label_smoothing",
    "optimizer",
    "momentum",
    "weight_decay",
    "gradient_clip",
    "ema",
)


class Section(BaseModel):
    """A part of params.yaml: every key is required, no other is allowed, and nothing is converted from text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FetchConfig(Section):
    """Which digits, and from where."""

    dataset: Literal["MNIST", "FashionMNIST", "KMNIST"]
    sources: Annotated[list[Source], Field(min_length=1, max_length=10)]
    directory: Annotated[str, Field(min_length=1, max_length=1000)] | None
    timeout: Annotated[float, Field(ge=0.01, le=3600)]
    synthetic_train_size: Annotated[Digits, Field(ge=20)]
    synthetic_test_size: Digits

    @model_validator(mode="after")
    def _directory_is_named(self) -> "FetchConfig":
        if "directory" in self.sources and not self.directory:
            raise ValueError("directory: must name a folder when sources lists `directory`, got null")
        return self


class PreprocessConfig(Section):
    """How the digits are split."""

    validation_size: Digits


class TrainingParameters(Section):
    """One network and its training, the same for every engine."""

    channels: Annotated[list[Channels], Field(max_length=2)]
    hidden: Annotated[list[Units], Field(max_length=20)]
    activation: Activation
    batch_norm: bool
    dropout: Share
    initialization: Initialization
    label_smoothing: Share
    optimizer: OptimizerName
    learning_rate: Annotated[float, Field(gt=0, le=1e9)]
    momentum: Share
    weight_decay: Annotated[float, Field(ge=0, le=1e9)]
    gradient_clip: Annotated[float, Field(ge=0, le=1e9)]
    ema: Share
    schedule: ScheduleName
    warmup: Fraction
    step_epochs: Epochs
    step_factor: Annotated[float, Field(gt=0, le=1)]
    epochs: Epochs
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    patience: Annotated[int, Field(ge=0, le=10_000)]
    augment: bool
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Pixels
    scale: Annotated[float, Field(ge=0, le=0.9)]
    shear: Annotated[float, Field(ge=0, le=80)]
    elastic: Pixels
    resume: bool
    threads: Annotated[int, Field(ge=1, le=256)]

    def classifier_options(self) -> dict[str, Any]:
        """What every engine's classifier takes by these names: the network, its loss and its optimizer."""
        return self.model_dump(include=set(CLASSIFIER_OPTIONS))


class TorchTrainingParameters(TrainingParameters):
    """What only PyTorch offers: a choice of device."""

    device: Literal["auto", "cuda", "mps", "cpu"]


class Parameters(Section):
    """All of params.yaml, apart from the sections of further engines."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    fetch: FetchConfig
    preprocess: PreprocessConfig
    train_torch: TorchTrainingParameters
    train_scratch: TrainingParameters

    def training(self, engine: str) -> TrainingParameters:
        """The section ``train_ENGINE`` of any engine that has its stages/train_ENGINE.py."""
        section: TrainingParameters = getattr(self, f"train_{engine}")
        return section


def _with_every_engine(stages: Path) -> type[Parameters]:
    """Parameters with a section for each further train_ENGINE.py, so that a new engine needs no line here."""
    names = {path.stem for path in stages.glob("train_*.py")} - set(Parameters.model_fields)
    sections: dict[str, Any] = dict.fromkeys(sorted(names), (TrainingParameters, ...))
    return create_model("AllParameters", __base__=Parameters, **sections)


_ALL_PARAMETERS = _with_every_engine(Path(__file__).parents[1])


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML, but a key that stands twice is an error; plain PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{_name(key)} stands twice", key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def load_config(path: Path = Path("params.yaml")) -> Parameters:
    """Read and validate params.yaml.

    Raises PipelineError with one line that names the key, what is allowed and the value.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, Loader=_UniqueKeyLoader)
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}; run from the project's folder") from None
    except Exception as error:  # PyYAML lets through what dates, numbers and deep nesting raise
        fault = textwrap.shorten(str(error), 300, placeholder=" ...") or type(error).__name__
        raise PipelineError(f"{path}: not valid YAML: {fault}") from None
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: must hold `key: value` lines, got {_shown(content)}")
    try:
        return _ALL_PARAMETERS.model_validate(content)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")  # a misspelt key first
        raise PipelineError(_sentence(faults[0])) from None


_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "model_type": "a section of `key: value` lines",
    "finite_number": "a finite number",
    "invalid_key": "text, as every key",
    "string_unicode": "text in Unicode",
}
_SIGNS = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "min_length": "of a length >=",
    "max_length": "of a length <=",
}
_REPR = reprlib.Repr()  # stays short even where aliases make a small file a huge value
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, 60, 60


def _sentence(fault: ErrorDetails) -> str:
    """One fault as ``section.key: what is allowed, got value``."""
    key = ".".join(map(_name, fault["loc"]))
    kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key, got {_shown(value)}; the keys here are {', '.join(_keys(fault['loc'][:-1]))}"
    if kind == "missing":
        return f"{key}: missing; it must be given"
    if kind == "value_error":
        return f"{key}.{context['error']}"
    if kind == "literal_error":
        allowed = "one of " + str(context["expected"]).replace("'", "")
    else:
        limits = [(sign, context[name]) for name, sign in _SIGNS.items() if name in context]
        bounds = [f"{sign} {f'{limit:g}' if isinstance(limit, float) else limit}" for sign, limit in limits]
        allowed = _TYPES.get(kind) or " ".join(bounds) or fault["msg"]
    return f"{key}: must be {allowed}, got {_shown(value)}{_hint(kind, value)}"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at ``location`` of params.yaml has."""
    section: type[BaseModel] = _ALL_PARAMETERS
    for name in location:
        section = section.model_fields[str(name)].annotation  # type: ignore[assignment]  # a Section by construction
    return list(section.model_fields)


def _hint(kind: str, value: object) -> str:
    """YAML 1.1 reads 1e-3 as text; nobody guesses that."""
    if kind != "float_type" or not isinstance(value, str) or not re.fullmatch(r"[-+]?[\d.]+e[-+]?\d\d?", value, re.A):
        return ""
    return f" (text in YAML: write {Decimal(value):f})"


def _name(key: object) -> str:
    """A key as it stands in the file, where that is a word."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 60 else _shown(key)


def _shown(value: object) -> str:
    """The value as one short line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    try:
        text = _REPR.repr(value)
    except ValueError:
        return "a number of more than 4300 digits"
    return text if len(text) <= 60 else text[:57] + "..."


def check() -> None:
    """Validate params.yaml as a whole, also what no stage depends on."""
    load_config()


if __name__ == "__main__":
    run(check)
