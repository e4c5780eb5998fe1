"""What params.yaml may say of the images: each bound from both sides, and the message for what lies beyond."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from stages.pipeline.config import BaseConfig, DataConfig, FetchConfig, PreprocessConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config, validate
from tests.imports import ROOT

COMMITTED = load_config(DataConfig, ROOT / "params.yaml")
MILLION = 10**6


def changed(key: str, value: object) -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(COMMITTED.model_dump())
    *sections, name = key.split(".")
    (content[sections[0]] if sections else content)[name] = value
    return content


@pytest.mark.parametrize(
    ("key", "inside", "outside", "bound"),
    [
        ("seed", 0, -1, ">= 0"),
        ("seed", 2**63 - 1, 2**63, "< 9223372036854775808"),
        ("fetch.timeout", 0.01, 0.0099, ">= 0.01"),
        ("fetch.timeout", 3600.0, 3600.001, "<= 3600"),
        ("fetch.synthetic_train_size", 20, 19, ">= 20"),
        ("fetch.synthetic_train_size", MILLION, MILLION + 1, "<= 1000000"),
        ("fetch.synthetic_test_size", 10, 9, ">= 10"),
        ("fetch.synthetic_test_size", MILLION, MILLION + 1, "<= 1000000"),
        ("preprocess.validation_size", 10, 9, ">= 10"),
        ("preprocess.validation_size", MILLION, MILLION + 1, "<= 1000000"),
        ("fetch.sources", ["directory"], [], "of a length >= 1"),
        ("fetch.sources", ["synthetic"] * 10, ["synthetic"] * 11, "of a length <= 10"),
        ("fetch.directory", "x", "", "of a length >= 1"),
        ("fetch.directory", "x" * 1000, "x" * 1001, "of a length <= 1000"),
    ],
)
def test_a_value_at_its_bound_is_taken_and_one_beyond_is_refused(
    key: str, inside: object, outside: object, bound: str
) -> None:
    config: Any = validate(DataConfig, changed(key, inside))
    for name in key.split("."):
        config = getattr(config, name)
    assert config == inside
    with pytest.raises(PipelineError) as caught:
        validate(DataConfig, changed(key, outside))
    message = str(caught.value)
    assert message.startswith(f"{key}: must be {bound}, got ")


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        (
            "fetch.dataset",
            ["MNIST", "FashionMNIST", "KMNIST"],
            "fetch.dataset: must be one of MNIST, FashionMNIST, KMNIST or custom, got 0",
        ),
        ("arithmetic", ["portable", "native"], "arithmetic: must be one of portable or native, got 0"),
    ],
)
def test_every_word_is_taken_and_no_other(key: str, values: list[str], message: str) -> None:
    for value in values:
        validate(DataConfig, changed(key, value))
    with pytest.raises(PipelineError) as caught:
        validate(DataConfig, changed(key, 0))
    assert str(caught.value) == message


@pytest.mark.parametrize("sources", [["directory"], ["synthetic"], ["directory", "synthetic"]])
def test_custom_images_come_from_a_directory(sources: list[str]) -> None:
    section = {"dataset": "custom", "sources": sources}
    assert FetchConfig.model_validate(section).sources == sources
    for elsewhere in ("torchvision", "package_index"):
        message = "sources: must be .directory. for `dataset: custom`, which nothing else has, got "
        with pytest.raises(ValidationError, match=message):
            FetchConfig.model_validate(section | {"sources": [*sources, elsewhere]})
        assert FetchConfig.model_validate({"sources": [*sources, elsewhere]}).dataset == "MNIST"


def test_the_defaults_are_those_of_the_committed_file() -> None:
    assert FetchConfig() == COMMITTED.fetch
    assert PreprocessConfig() == COMMITTED.preprocess


def test_a_config_cannot_be_changed_and_leaves_what_other_stages_read_alone() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        COMMITTED.seed = 2
    content = {"seed": 7, "arithmetic": "native", "training": {"epochs": -1}}
    assert validate(BaseConfig, content).model_dump() == {"seed": 7, "arithmetic": "native"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "1", "seed: must be an integer, got '1'"),
        ("seed", True, "seed: must be an integer, got true"),
        ("fetch.timeout", "10", "fetch.timeout: must be a number, got '10'"),
        ("fetch.timeout", float("nan"), "fetch.timeout: must be a finite number, got nan"),
        ("preprocess.validation_size", 50.0, "preprocess.validation_size: must be an integer, got 50.0"),
        ("preprocess.size", 5, "preprocess.size: unknown key, got 5; the keys here are validation_size"),
    ],
)
def test_nothing_is_converted_and_no_unknown_key_ignored(key: str, value: object, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        validate(DataConfig, changed(key, value))
    assert str(caught.value) == message
