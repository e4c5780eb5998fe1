"""Train on a Ray cluster, predict the test images here: ``python -m stages.tools.cluster ADDRESS FOLDER < jobs.json``.

``jobs.json`` gives a name, an engine and overrides of params.yaml, as ``dvc exp run -S`` takes them, for each training.
FOLDER gets NAME.npy, the probabilities of the test images (N, 10), NAME.yaml, the params.yaml that gave them, and
labels.npy (N,). What an earlier call has trained is not trained again.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from dvc.utils.hydra import apply_overrides

from stages.data.idx import Bytes
from stages.engines import from_bytes
from stages.engines.config import Config
from stages.pipeline.classifier import predict_in_batches
from stages.pipeline.files import write_bytes, write_npy
from stages.pipeline.params import load_config
from stages.tools.cluster.connection import cluster
from stages.tools.cluster.data import checksums, fetched
from stages.tools.cluster.machines import wanted_environment
from stages.tools.cluster.node import Environment
from stages.tools.cluster.pool import train_all
from stages.tools.cluster.training import Job
from stages.tools.commands import start
from stages.training.checkpoint import code_checksums

TRAINED = Path("sweep/models")


def main() -> None:
    """Train what is not trained yet, then predict with all of it."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    jobs = {each["name"]: read_job(folder, **each) for each in json.load(sys.stdin)}
    arithmetic = load_config(Config).arithmetic
    wanted = wanted_environment({job.engine for job in jobs.values()}, arithmetic)
    raw = fetched("train")
    models = {name: TRAINED / identity(job, wanted, raw) for name, job in jobs.items()}
    missing = {name: job for name, job in jobs.items() if not models[name].exists()}
    if missing:
        with cluster(address, wanted):
            print(f"{len(missing)} of {len(jobs)} trainings are to be done", flush=True)
            for trained in train_all(missing, wanted, raw):
                write_bytes(models[trained.name], trained.model)
                print(f"{trained.name:24}  {trained.machine}", flush=True)
    else:
        print(f"all {len(jobs)} models are in {TRAINED} already", flush=True)
    images, labels = fetched("test")
    write_npy(folder / "labels.npy", labels.astype(np.int64))
    for name, job in jobs.items():
        classifier = from_bytes(job.engine, models[name].read_bytes())
        probabilities = predict_in_batches(classifier, classifier.standardization.apply(images))
        write_npy(folder / f"{name}.npy", probabilities)


def read_job(folder: Path, name: str, engine: str, overrides: list[str]) -> Job:
    """A job of params.yaml with overrides, whose result is left in the folder."""
    path = folder / f"{name}.yaml"
    shutil.copyfile("params.yaml", path)
    apply_overrides(path, overrides)
    params = load_config(Config, path)
    return Job(engine, params.engine(engine), params.seed, params.preprocess.validation_size)


def identity(job: Job, wanted: Environment, raw: tuple[Bytes, Bytes]) -> str:
    """A name for all that a model depends on."""
    config, images = job.config.model_dump(), checksums(raw)
    content = [job.engine, config, job.seed, job.validation_size, wanted, images, code_checksums()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


if __name__ == "__main__":
    start(main)
