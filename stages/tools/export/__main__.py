"""Write models/ENGINE/model.onnx for each trained engine: ``python -m stages.tools.export [--dtype float32]``.

ONNX Runtime predicts test images with each file, and how far it is from the engine's own probabilities is printed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from stages.data.idx import read_split
from stages.engines import ENGINES, load
from stages.engines.config import EngineConfig
from stages.pipeline.classifier import Classifier, predict_in_batches
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.tools.commands import start

try:
    import onnxruntime

    from stages.tools.export.model import IR_VERSION, OPSET, PIXEL_DTYPES, PixelDType, onnx_bytes
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed; `make export` installs it")

COMPARED = 1000  # test images


class NotExportableError(Exception):
    """An engine that has no ONNX file here, which is no error."""


def main() -> None:
    """Export every engine; exit status 1 when one fails."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.export")
    parser.add_argument("--dtype", choices=PIXEL_DTYPES, default="uint8", help="of the pixels, from 0 to 255")
    dtype: PixelDType = parser.parse_args().dtype
    print(f"ONNX opset {OPSET}, IR version {IR_VERSION}: pixels {dtype} (N, 28, 28), probabilities float32 (N, 10)")
    failed = False
    for engine in ENGINES:
        try:
            print(f"{engine}: {export(engine, dtype)}", flush=True)
        except NotExportableError as reason:
            print(f"note: {engine} is not exported: {reason}", file=sys.stderr)
        except PipelineError as error:
            print(f"error: {engine} is not exported: {error}", file=sys.stderr)
            failed = True
    if failed:
        sys.exit(1)


def export(engine: str, dtype: PixelDType) -> str:
    """Write the file of one engine's model, beside it, and describe it."""
    try:
        classifier = load(engine)
    except ModuleNotFoundError as error:
        raise NotExportableError(f"{error.name} is not installed; `make` installs it") from None
    config = getattr(classifier, "config", None)
    if not isinstance(config, EngineConfig):
        raise NotExportableError("it does not say which layers of stages/engines/network.py it has")
    content = onnx_bytes(engine, config.network, classifier.state_dict(), classifier.standardization, dtype)
    comparison = compare(content, classifier, dtype)
    path = ENGINES[engine].with_name("model.onnx")
    write_bytes(path, content)
    return f"{path}, {len(content) / 1e6:.1f} MB, {comparison}"


def compare(content: bytes, classifier: Classifier, dtype: PixelDType) -> str:
    """How far ONNX Runtime's probabilities are from the engine's own, in words."""
    try:
        pixels = read_split(Path("data/raw"), "test")[0][:COMPARED]
    except PipelineError as error:
        return f"not compared with the engine: {error}"
    (probabilities,) = onnxruntime.InferenceSession(content).run(None, {"pixels": pixels.astype(dtype)})
    own = predict_in_batches(classifier, classifier.standardization.apply(pixels))
    difference = np.abs(probabilities - own).max()
    return f"probabilities of {len(pixels):,} test images within {difference:.0e} of the engine's"


if __name__ == "__main__":
    start(main)
