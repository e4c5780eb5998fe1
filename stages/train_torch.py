"""Train the PyTorch network: ``python -m stages.train_torch``."""

from pathlib import Path

import torch

from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes, write_json
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_split
from stages.pipeline.stage import run
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train

MODEL = Path("models/torch/mnist_model.pth")
CHECKPOINT = Path("models/torch/.checkpoint.npz")
HISTORY = Path("plots/torch/history.csv")
TIMING = Path("metrics/timing_torch.json")


def main() -> None:
    """Train as params.yaml says and save the weights of the epoch that is best on the validation split."""
    parameters = load_config()
    settings, generators = parameters.train_torch, spawn_generators(parameters.seed)
    device = choose_device(settings.device)
    torch.set_num_threads(settings.threads)
    training, validation = load_split("train"), load_split("validation")
    MODEL.unlink(missing_ok=True)  # training that fails leaves no model, not even the last one
    classifier = TorchClassifier(
        generator=generators.weights,
        dropout_generator=generators.dropout,
        **settings.classifier_options(),
        device=device,
    )
    checkpoint = Checkpoint(CHECKPOINT, settings, (training, validation), generators)
    timing = train(classifier, training, validation, settings, generators, HISTORY, checkpoint)
    write_bytes(MODEL, classifier.to_bytes())
    checkpoint.remove()
    write_json(TIMING, {**timing._asdict(), "device": device, "threads": settings.threads})


def choose_device(name: str) -> str:
    """Return the device to use: the one named, or for ``auto`` cuda, else mps, else cpu.

    Raises PipelineError when this machine does not have the one named.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, present in available.items() if present)
    if not available[name]:
        present = ", ".join(device for device, here in available.items() if here)
        raise PipelineError(f"train_torch.device: must be auto or what this machine has ({present}), got '{name}'")
    return name


if __name__ == "__main__":
    run(main)
