"""Write the page: ``python -m stages.tools.draw``."""

import sys
from pathlib import Path

from stages.engines import ENGINES, load
from stages.pipeline.classifier import Classifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.tools.commands import start
from stages.tools.draw.gallery import make_gallery, predict_test_images
from stages.tools.draw.models import describe
from stages.tools.draw.page import make_page

PAGE = Path("draw.html")


def main() -> None:
    """Write draw.html with the trained networks and some test images, and print its address."""
    classifiers = load_classifiers()
    print(f"building the page of {' and '.join(classifiers)}", flush=True)
    test = predict_test_images(classifiers)
    networks = [describe(engine, classifier, test.accuracy(engine)) for engine, classifier in classifiers.items()]
    write_bytes(PAGE, make_page(networks, make_gallery(test)).encode())
    print(PAGE.absolute().as_uri())


def load_classifiers() -> dict[str, Classifier]:
    """The trained classifier of each engine that has one; says which has none, and why.

    Raises PipelineError if there is none at all.
    """
    classifiers: dict[str, Classifier] = {}
    missing: list[str] = []
    for engine in ENGINES:
        try:
            classifier = load(engine)
            describe(engine, classifier)  # raises here what the page cannot show
            classifiers[engine] = classifier
        except PipelineError as error:
            missing.append(str(error))
        except ImportError as error:
            missing.append(f"{error}; `make` installs PyTorch")
    if not classifiers:
        raise PipelineError(f"no network to show: {'; '.join(missing)}")
    for reason in missing:
        print(f"note: the page shows {' and '.join(classifiers)} alone: {reason}", file=sys.stderr)
    return classifiers


if __name__ == "__main__":
    start(main)
