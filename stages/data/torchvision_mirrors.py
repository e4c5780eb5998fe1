"""The mirrors that torchvision knows, with its own MD5 checks."""

import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.data.raw_files import DatasetSpec, RawFiles, short_message
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError


def fetch(config: FetchConfig, spec: DatasetSpec) -> RawFiles:
    """Download the dataset's four files. Raises PipelineError with one line."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(config.timeout)  # torchvision sets none of its own
    try:
        from torchvision import datasets  # takes seconds, so only when needed

        with TemporaryDirectory() as folder:
            dataset = getattr(datasets, config.dataset)(folder, download=True)
            return {name: (Path(dataset.raw_folder) / name).read_bytes() for name in spec.sizes}
    except ModuleNotFoundError:
        raise PipelineError("is not installed; `make` installs it, `make scratch` does without") from None
    except Exception as error:  # torchvision lets through whatever urllib, ssl, gzip and its own parser raise
        raise PipelineError(short_message(error)) from None
    finally:
        socket.setdefaulttimeout(timeout)
