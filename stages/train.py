"""Train one engine's network: ``python -m stages.train ENGINE``, where ENGINE is torch or scratch."""

from pathlib import Path

from stages.engines import ENGINES, make
from stages.pipeline.files import write_bytes
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_split, load_standardization
from stages.pipeline.stage import engine_argument, run
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train


def main() -> None:
    """Train as params.yaml says and save the weights of the epoch with the best validation accuracy."""
    engine = engine_argument(ENGINES)
    params = load_config()
    config, generators = params.engine(engine), spawn_generators(params.seed)
    training, validation = load_split("train"), load_split("validation")
    classifier = make(engine, config, generators, load_standardization())
    model = ENGINES[engine]
    checkpoint = Checkpoint(model.with_name(".checkpoint.npz"), config, (training, validation), generators)
    history = Path(f"plots/{engine}/history.csv")
    model.unlink(missing_ok=True)  # training that fails leaves no model, not even the last one
    timing = train(classifier, training, validation, config, generators, history, checkpoint)
    write_bytes(model, classifier.to_bytes())
    checkpoint.remove()
    device = getattr(classifier, "device", "cpu")
    print(
        f"{engine}: trained in {timing.seconds:.1f} s, {timing.throughput:,.0f} images/s ({device}, CPU threads: "
        f"{config.threads})"
    )


if __name__ == "__main__":
    run(main)
