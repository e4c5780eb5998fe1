"""sweep.yaml: what a sweep may search, and one line for what it may not."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from stages.engines.config import Config, TorchConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config
from stages.tools.sweep.space import Space, Sweep
from tests.imports import ROOT

PARAMS = load_config(Config, ROOT / "params.yaml")
SWEEP = load_config(Sweep, ROOT / "sweep.yaml")


def space(dimensions: dict[str, Any], engine: str = "scratch") -> Space:
    return Space(SWEEP.model_copy(update={"engine": engine, "space": dimensions}), PARAMS)


WRONG = {
    "unknown key": (
        {"optimizer.rate": [1]},
        "space.optimizer.rate: unknown key; the keys here are name, learning_rate",
    ),
    "unknown section": ({"optimiser.name": ["sgd"]}, "space.optimiser.name: must be a key of network, optimizer"),
    "another engine's key": ({"torch.threads": [1]}, "space.torch.threads: must be a key of .*, scratch, because"),
    "the seed": ({"seed": [1, 2]}, "space.seed: must be a key of"),
    "the split": ({"preprocess.validation_size": [10, 20]}, "space.preprocess.validation_size: must be a key of"),
    "a section": ({"network": [1]}, "space.network: is a section; its keys are channels"),
    "deeper than there are keys": ({"network.channels.first": [1]}, "unknown key; the keys here are none"),
    "a choice out of range": ({"optimizer.momentum": [0.5, 1.5]}, "optimizer.momentum: must be < 1, got 1.5"),
    "a choice of another type": ({"network.channels": ["many"]}, "network.channels: must be a list, got 'many'"),
    "no choices": ({"optimizer.momentum": []}, "must be a list of choices or {low: ..., high: ...}, got \\[\\]"),
    "one value": ({"optimizer.momentum": 0.5}, "must be a list of choices or {low: ..., high: ...}, got 0.5"),
    "half a range": ({"optimizer.momentum": {"low": 0.1}}, "space.optimizer.momentum.high: missing"),
    "a range's unknown key": (
        {"optimizer.momentum": {"low": 0.1, "high": 0.2, "steps": 3}},
        "space.optimizer.momentum.steps: unknown key, got 3; the keys here are low, high, log",
    ),
    "a range of text": ({"optimizer.momentum": {"low": "a", "high": 1}}, "momentum.low: must be a number, got 'a'"),
    "a range without numbers": ({"network.activation": {"low": 0, "high": 1}}, "has no range"),
    "a range of true and false": ({"network.batch_norm": {"low": 0, "high": 1}}, "has no range"),
    "a range the wrong way round": ({"optimizer.momentum": {"low": 0.5, "high": 0.1}}, "low must be below high"),
    "the logarithm of 0": ({"optimizer.momentum": {"low": 0, "high": 0.1, "log": True}}, "with log above 0"),
    "a range's end out of range": ({"optimizer.momentum": {"low": 0.5, "high": 2}}, "momentum: must be < 1, got 2"),
    "half an integer": ({"training.epochs": {"low": 1, "high": 2.5}}, "low and high must be integers"),
    "twice": ({"training.epochs": [1], "scratch.training.epochs": [2]}, "a key stands twice"),
}


@pytest.mark.parametrize(("dimensions", "message"), WRONG.values(), ids=WRONG)
def test_what_params_yaml_could_not_hold_is_refused_in_one_line(dimensions: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message) as caught:
        space(dimensions)
    assert "\n" not in str(caught.value)


def test_choices_that_another_key_makes_possible_are_taken() -> None:
    """Three blocks are too many for kernels of 5x5, and fit with 3x3; together they are judged when they are tried."""
    both = space({"network.channels": [[8, 8, 8]], "network.kernel_size": [3, 5]})
    assert both.config({"network.channels": [8, 8, 8], "network.kernel_size": 3}).network.channels == [8, 8, 8]
    with pytest.raises(PipelineError, match="too small for"):
        both.config({"network.channels": [8, 8, 8], "network.kernel_size": 5})


@pytest.mark.parametrize("engine", ["torch", "scratch"])
def test_every_suggestion_is_a_config_of_its_engine_within_the_space(engine: str) -> None:
    searched = space(
        {
            "optimizer.learning_rate": {"low": 0.00123456, "high": 0.1, "log": True},
            "augmentation.shift": {"low": 0, "high": 3},
            "training.epochs": {"low": 1, "high": 4, "log": True},
            f"{engine}.threads": [1, 2],
            "network.hidden_sizes": [[16], [32, 16], []],
            "network.batch_norm": [True, False],
            "network.activation": ["relu", "gelu"],
        },
        engine,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = []
    for _ in range(200):
        trial = study.ask()
        config = searched.config({key: searched.suggest(trial, key) for key in searched.dimensions})
        assert 0.00123456 <= config.optimizer.learning_rate <= 0.1
        assert float(f"{config.optimizer.learning_rate:.4g}") == config.optimizer.learning_rate or (
            config.optimizer.learning_rate == 0.00123456
        )
        configs.append(config)
    assert {config.training.epochs for config in configs} == {1, 2, 3, 4}
    assert {tuple(config.network.hidden_sizes) for config in configs} == {(16,), (32, 16), ()}
    assert {(config.threads, config.network.batch_norm) for config in configs} == {
        (1, True),
        (1, False),
        (2, True),
        (2, False),
    }
    assert configs[0].optimizer.weight_decay == PARAMS.engine(engine).optimizer.weight_decay


def test_the_committed_sweep_is_valid() -> None:
    for engine in ("torch", "scratch"):
        assert space(SWEEP.space, engine).dimensions.keys() == SWEEP.space.keys()


def test_an_unknown_engine_and_a_missing_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="engine: must be one of torch or scratch, got 'jax'"):
        space(SWEEP.space, "jax")
    (tmp_path / "sweep.yaml").write_text((ROOT / "sweep.yaml").read_text().replace("trials: 30\n", ""))
    with pytest.raises(PipelineError, match="trials: missing; it must be given"):
        load_config(Sweep, tmp_path / "sweep.yaml")


@pytest.mark.parametrize(("key", "value"), [("reduction_factor", 1), ("pruner", "hyperband"), ("trials", 0)])
def test_settings_that_optuna_would_refuse_later_are_refused_at_once(tmp_path: Path, key: str, value: object) -> None:
    content = SWEEP.model_dump(mode="json") | {key: value}
    (tmp_path / "sweep.yaml").write_text(json.dumps(content))
    with pytest.raises(PipelineError, match=f"^{key}: must be .*, got {value!r}$"):
        load_config(Sweep, tmp_path / "sweep.yaml")


def test_the_smallest_config_decides_how_many_run_at_a_time() -> None:
    assert space({"scratch.threads": [4, 2]}).smallest().threads == 2
    assert space({"torch.threads": {"low": 3, "high": 8}}, "torch").smallest().threads == 3
    torch = space({"torch.device": ["cuda", "cpu"]}, "torch").smallest()
    assert isinstance(torch, TorchConfig)
    assert torch.device == "cpu"
    assert space({"optimizer.momentum": [0.5]}).smallest() == PARAMS.engine("scratch")
