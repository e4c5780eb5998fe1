"""The mirrors that torchvision knows, with its own MD5 checks."""

from pathlib import Path
from tempfile import TemporaryDirectory

from stages.data.raw_files import Expected, RawFiles, one_line
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import FetchConfig


def fetch(parameters: FetchConfig, expected: Expected) -> RawFiles:
    """Download the dataset's four files. Raises PipelineError with one line."""
    with TemporaryDirectory() as folder:
        try:
            from torchvision import datasets  # takes seconds: only who uses it waits for it

            dataset = getattr(datasets, parameters.dataset)(folder, download=True)
            return {name: (Path(dataset.raw_folder) / name).read_bytes() for name in expected.sizes}
        except Exception as error:  # it lets through whatever urllib, ssl, gzip and its own parser raise
            raise PipelineError(one_line(error)) from None
