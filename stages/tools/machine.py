"""What results depend on: processor, kernels and packages. ``python -m stages.tools.machine`` prints it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import scipy.linalg  # noqa: F401  # loads SciPy's own OpenBLAS, for threadpoolctl to see
import torch
from threadpoolctl import threadpool_info

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "pillow", "torch")


def main() -> None:
    """Print a line for each."""
    system = [
        platform.system(),
        platform.machine(),
        " ".join(platform.libc_ver()),
        f"Python {platform.python_version()}",
    ]
    print(f"processor: {processor()}, {os.cpu_count()} cores; {', '.join(filter(None, system))}")
    print(f"kernels: {', '.join(f'{library} {kernel}' for library, kernel in kernels().items())}")
    print(f"packages: {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # only Linux on x86-64 has that
        return platform.processor() or "unknown"


def kernels() -> dict[str, str]:
    """Which kernels each library takes in this process; for MKL and oneDNN, what they were told."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    blas = [library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"]
    return {
        "NumPy": (extensions.get("found") or extensions["baseline"])[-1],
        "OpenBLAS": " and ".join(sorted(set(blas))) or "none",
        "ATen": torch.backends.cpu.get_cpu_capability(),
        "MKL": os.environ.get("MKL_CBWR", "of its own choice"),
        "oneDNN": os.environ.get("ONEDNN_MAX_CPU_ISA", "of its own choice"),
    }


def other_versions(constraints: str) -> list[str]:
    """The installed packages whose version is not that of constraints.txt: ``numpy 2.4.5 instead of 2.4.6``."""
    pinned = dict(line.split("==") for line in constraints.split() if "==" in line)
    return [
        f"{name} {installed} instead of {pin}"
        for name, pin in pinned.items()
        if (installed := _installed_version(name)) not in (pin, None)
    ]


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # such as CUDA's, where there is none
        return None


if __name__ == "__main__":
    main()
