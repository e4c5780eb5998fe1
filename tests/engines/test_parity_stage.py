"""The stage ``parity`` trains the network that it names as it says, and its two files say what came of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stages import parity
from stages.engines.config import NetworkConfig
from stages.engines.network import initial_weights
from stages.pipeline.files import write_npy
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from tests.imports import ROOT

IMAGES, BATCH_SIZE, STEPS = 150, 64, 7  # two epochs of three batches, and the beginning of a third
NAMES = ["torch_float32", "scratch_float32", "torch_float64", "scratch_float64"]


def random_split(seed: int) -> Split:
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(IMAGES, 28, 28)).astype(np.float32)
    return Split(images, generator.integers(10, size=IMAGES))


@pytest.fixture(autouse=True)
def _few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a training split and, to be left alone, a validation split, and a seed of its own."""
    monkeypatch.setattr(parity, "STEPS", STEPS)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("seed: 1", "seed: 5", 1), encoding="utf-8")
    for folder in ("data/processed", "metrics", "plots"):
        Path(folder).mkdir(parents=True)
    for number, name in enumerate(("train", "validation", "test")):
        for kind, array in random_split(number)._asdict().items():
            write_npy(Path(f"data/processed/{name}_{kind}.npy"), array)


def losses_by_hand(split: Split, seed: int) -> list[float]:
    """784-32-16-10 by AdamW in float64: equal initial weights, and new order for every epoch, from the seed."""
    generators = spawn_generators(seed)
    layers = [torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.ReLU()]
    network = torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(16, 10)).double()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    weights = initial_weights(shapes, NetworkConfig(), generators.weights)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=0.1)
    orders = [generators.shuffling.permutation(IMAGES) for _ in range(3)]
    batches = [order[start : start + BATCH_SIZE] for order in orders for start in range(0, IMAGES, BATCH_SIZE)]
    losses = []
    for batch in batches[:STEPS]:
        logits = network(torch.from_numpy(split.images[batch].astype(np.float64)))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(split.labels[batch]))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_each_loss_is_that_of_the_named_network_trained_by_hand_and_the_table_has_all_of_them() -> None:
    parity.main()
    table = pd.read_csv("plots/parity.csv")
    assert list(table) == ["step", *NAMES]
    assert table["step"].tolist() == list(range(1, STEPS + 1))
    expected = losses_by_hand(random_split(0), 5)
    for name in NAMES:
        engine, dtype = name.split("_")
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(table[name], expected, rtol=tolerance)
        is_float32 = table[name] == table[name].astype(np.float32)
        assert is_float32.all() if dtype == "float32" else not is_float32.any(), "not computed in its own dtype"
        assert table[name].tolist() == parity.step_losses(engine, dtype, random_split(0), 5).tolist()
    assert not table[NAMES].T.duplicated().any(), "one engine, twice"
    assert (parity.step_losses("scratch", "float64", random_split(0), 6) != table["scratch_float64"]).all()


def test_the_differences_are_relative_the_largest_so_far_and_have_two_digits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given losses, because those of a real run differ by rounding alone, which tells no two formulas apart."""
    losses = {
        "torch_float32": [1.0, 2.0, 4.0, 8.0, 2.0, 1.0, 1.0],
        "scratch_float32": [1.0, 2.5, 3.0, 8.0, 3.51, 1.0, 0.1],  # 0, 0.25, 0.25, 0, 0.755, 0, 0.9
        "torch_float64": [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25],
        "scratch_float64": [4.0, 4.0, 3.0, 2.0, 1.1234, 0.5, 0.25],  # 0.2, then less
    }

    def given_losses(engine: str, dtype: str, training: Split, seed: int) -> NDArray[np.float64]:
        assert seed == 5
        assert (training.images == random_split(0).images).all()
        return np.array(losses[f"{engine}_{dtype}"])

    monkeypatch.setattr(parity, "step_losses", given_losses)
    monkeypatch.setattr(parity, "REPORTED_STEPS", (1, 4, 5, 6, 7))
    parity.main()
    assert json.loads(Path("metrics/parity.json").read_text(encoding="utf-8")) == {
        "float32": {"1": 0.0, "4": 0.25, "5": 0.75, "6": 0.75, "7": 0.9},
        "float64": {"1": 0.2, "4": 0.2, "5": 0.2, "6": 0.2, "7": 0.2},
    }
    table = pd.read_csv("plots/parity.csv")
    assert table[NAMES].to_dict("list") == losses
    printed = capsys.readouterr().out
    assert "float32: the losses differ by at most 9.0e-01 of their value in 7 steps" in printed
    assert "float64: the losses differ by at most 2.0e-01 of their value in 7 steps" in printed


def test_the_steps_that_are_reported_are_those_of_the_committed_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    committed = json.loads((ROOT / "metrics/parity.json").read_text(encoding="utf-8"))
    assert list(committed) == list(parity.DTYPES)
    assert all([*map(int, steps)] == list(parity.REPORTED_STEPS) for steps in committed.values())
    assert parity.REPORTED_STEPS[-1] == parity.STEPS
