"""Train one engine's network: ``python -m stages.train ENGINE``, where ENGINE is torch or scratch."""

import sys

from stages.engines import ENGINES, make
from stages.engines.config import Config
from stages.pipeline.files import write_bytes
from stages.pipeline.history import history_path
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_split, load_standardization
from stages.pipeline.stage import engine_argument, run
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train
from stages.training.messages import chance_warning, options_without_effect


def main() -> None:
    """Train as params.yaml says and save the weights of the epoch with the best validation accuracy."""
    engine = engine_argument(ENGINES)
    params = load_config(Config)
    config, generators = params.engine(engine), spawn_generators(params.seed)
    for option in options_without_effect(config.network):
        print(f"note: {option}", file=sys.stderr, flush=True)
    training, validation = load_split("train"), load_split("validation")
    classifier = make(engine, config, generators, load_standardization())
    model = ENGINES[engine]
    device = str(getattr(classifier, "device", "cpu"))  # of an engine that offers a choice
    checkpoint = Checkpoint(model.with_name(".checkpoint.npz"), config, device, (training, validation), generators)
    outcome = train(classifier, training, validation, config, generators, history_path(engine), checkpoint)
    write_bytes(model, classifier.to_bytes())
    checkpoint.remove()
    print(
        f"{engine}: kept epoch {outcome.kept.epoch} of {outcome.epochs}, validation accuracy "
        f"{outcome.kept.validation_accuracy:.2%}, in {model}; trained in {outcome.seconds:.1f} s, "
        f"{outcome.throughput:,.0f} images/s ({device}, CPU threads: {config.threads})"
    )
    if warning := chance_warning(outcome.kept.validation_accuracy, validation.labels):
        print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
