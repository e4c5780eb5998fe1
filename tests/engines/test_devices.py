"""Threads and devices: what the config says is what the arithmetic gets."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from stages.engines import make
from stages.engines.config import TorchConfig
from stages.engines.torch_engine import TorchClassifier, choose_device, make_cuda_deterministic
from stages.pipeline.classifier import UNSTANDARDIZED, Classifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What an engine sets holds for a whole process."""
    monkeypatch.setenv(CUBLAS, "")
    threads = torch.get_num_threads()
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    tf32 = [backend.allow_tf32 for backend in backends]
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    for backend, allowed in zip(backends, tf32, strict=True):
        backend.allow_tf32 = allowed


def made(engine: str, threads: int, channels: list[int]) -> Classifier:
    config = make_config(threads=threads, channels=channels, hidden_sizes=[3])
    return make(engine, config, spawn_generators(0), UNSTANDARDIZED)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pytorch_computes_with_the_threads_of_the_config(threads: int) -> None:
    torch.set_num_threads(4)
    made("torch", threads, [])
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("threads", "channels"), list(product([1, 2, 3], [[], [2]])))
def test_numpy_gives_its_threads_to_blas_or_to_replicas(threads: int, channels: list[int]) -> None:
    """To BLAS in a dense network, and to the shards of a batch in one that convolves."""
    threadpool_limits(4, user_api="blas")
    before = set(threading.enumerate())
    classifier = made("scratch", threads, channels)
    blas = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    replicas = 1 + len(set(threading.enumerate()) - before)
    assert (blas, replicas) == (({1}, threads) if channels else ({threads}, 1))
    assert classifier.parameter_count()


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_cuda_else_mps_else_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str
) -> None:
    """And a device is taken by its name if the machine has it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == chosen
    here = [name for name, present in (("cuda", cuda), ("mps", mps), ("cpu", True)) if present]
    for name in ("cuda", "mps", "cpu"):
        if name in here:
            assert choose_device(name) == name
        else:
            with pytest.raises(PipelineError) as caught:
                choose_device(name)
            allowed = f"must be auto or what this machine has ({', '.join(here)})"
            assert str(caught.value) == f"torch.device: {allowed}, got '{name}'"


def test_a_network_is_trained_on_the_device_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here `meta`, which every machine has: it knows shapes alone."""
    monkeypatch.setattr("stages.engines.torch_engine.choose_device", {"mps": "meta"}.__getitem__)
    monkeypatch.setattr("stages.engines.torch_engine.initialize", lambda *_: None)
    classifier = make("torch", TorchConfig(device="mps"), spawn_generators(0), UNSTANDARDIZED)
    assert isinstance(classifier, TorchClassifier)
    assert {parameter.device.type for parameter in classifier.network.parameters()} == {"meta"}
    assert not torch.are_deterministic_algorithms_enabled()


def assert_cuda_is_deterministic() -> None:
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert os.environ[CUBLAS] == ":4096:8"


def test_cuda_is_made_deterministic_and_exact() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    make_cuda_deterministic()
    assert_cuda_is_deterministic()


def test_that_is_done_where_cuda_is_chosen_and_not_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made("torch", 1, [])
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with suppress(AssertionError, RuntimeError):  # of PyTorch, which finds no device after all
        make("torch", TorchConfig(device="cuda"), spawn_generators(0), UNSTANDARDIZED)
    assert_cuda_is_deterministic()


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_pytorchs_optimizers_make_one_pass_over_the_parameters(name: str) -> None:
    """All but RMSprop, which it does not fuse; rounding, and so results, depend on it."""
    assert TorchClassifier(make_config(name=name, hidden_sizes=[3])).optimizer.defaults["fused"] is True
