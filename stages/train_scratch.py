"""Train the NumPy network: ``python -m stages.train_scratch``."""

from pathlib import Path

from threadpoolctl import threadpool_limits

from stages.engines.scratch_engine import ScratchClassifier
from stages.pipeline.files import write_bytes, write_json
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_split
from stages.pipeline.stage import run
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train

MODEL = Path("models/scratch/model.npz")
CHECKPOINT = Path("models/scratch/.checkpoint.npz")
HISTORY = Path("plots/scratch/history.csv")
TIMING = Path("metrics/timing_scratch.json")


def main() -> None:
    """Train as params.yaml says and save the weights of the epoch that is best on the validation split."""
    parameters = load_config()
    settings, generators = parameters.train_scratch, spawn_generators(parameters.seed)
    training, validation = load_split("train"), load_split("validation")
    MODEL.unlink(missing_ok=True)  # training that fails leaves no model, not even the last one
    classifier = ScratchClassifier(
        generator=generators.weights,
        dropout_generator=generators.dropout,
        **settings.classifier_options(),
        threads=settings.threads,
    )
    checkpoint = Checkpoint(CHECKPOINT, settings, (training, validation), generators)
    with threadpool_limits(classifier.blas_threads, user_api="blas"):
        timing = train(classifier, training, validation, settings, generators, HISTORY, checkpoint)
    write_bytes(MODEL, classifier.to_bytes())
    checkpoint.remove()
    write_json(TIMING, {**timing._asdict(), "device": "cpu", "threads": settings.threads})


if __name__ == "__main__":
    run(main)
