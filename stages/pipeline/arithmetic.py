"""Portable arithmetic: the same kernels, so the same bytes, on every x86-64 Linux machine with AVX2 and FMA.

NumPy, OpenBLAS, MKL, oneDNN and ATen look at the processor and choose kernels that add in different orders. Environment
variables tell them which to take. They are read once, when a library loads, so ``python -m stages.NAME`` sets them
before it imports anything else.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

# None removes a variable. What the environment says for any of these does not count: it would on one machine only.
THREADS_AND_PRECISION: dict[str, str | None] = {
    # A library starts as many threads as the machine has cores, and more of them add in another order. A stage that
    # asks for more must get them, also where the machine has fewer cores.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MKL_DOMAIN_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS")),
    **dict.fromkeys(("MKL_DYNAMIC", "OMP_DYNAMIC"), "FALSE"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",  # 1 in NVIDIA's containers, where it outdoes PyTorch's own switch
}
KERNELS: dict[str, str | None] = {
    # NumPy's OpenBLAS and SciPy's: https://www.openmathlib.org/OpenBLAS/docs/runtime_variables/
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": None,
    "OPENBLAS_BLOCK_FACTOR": None,
    # NumPy's own loops, up to AVX2 and FMA (X86_V3): https://numpy.org/doc/stable/reference/simd/build-options.html
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NPY_ENABLE_CPU_FEATURES": None,  # NumPy refuses to load with both
    # PyTorch's matrix products. MKL has one branch for all processors; on AMD's it ignores every other value:
    # "Obtaining Numerically Reproducible Results" in Intel's developer guide.
    "MKL_CBWR": "COMPATIBLE",
    "MKL_ENABLE_INSTRUCTIONS": None,
    # PyTorch's convolutions: https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    # PyTorch's own loops: https://github.com/pytorch/pytorch/pull/9579
    "ATEN_CPU_CAPABILITY": "avx2",
}
_FMA = (0, 2, 12)  # glibc's index of CPUID leaf 1, register ecx, bit
_AVX2 = (1, 1, 5)  # its index of leaf 7, register ebx, bit
DIFFERS = "results may differ in the last digits"


def pin(environment: MutableMapping[str, str]) -> None:
    """Set the variables of the portable kernels, if this processor has them."""
    if can_pin():
        _set(environment, KERNELS)


def prepare(params: Path = Path("params.yaml")) -> None:
    """Let the libraries that this process will load take one thread, and the kernels of the file's ``arithmetic``."""
    from ruamel.yaml import YAML  # here, because whoever imports the NumPy library alone needs none

    try:
        is_native = YAML(typ="safe", pure=True).load(params.read_bytes())["arithmetic"] == "native"
    except Exception:  # the file is missing or damaged, which the stage will say when it reads all of it
        is_native = False
    _set(os.environ, THREADS_AND_PRECISION)
    if not is_native:
        pin(os.environ)


def warning(arithmetic: str) -> str:
    """Why this process will not give the bytes that params.yaml promises, on the CPU: a line, or nothing."""
    if arithmetic == "portable" and not can_pin():
        return f"this processor is not an x86-64 with AVX2 and FMA under Linux: {DIFFERS}"
    promised = THREADS_AND_PRECISION | (KERNELS if arithmetic == "portable" else {})
    if environment_values(promised) != promised:
        return f"kernels and threads are only set by `python -m stages.NAME`: {DIFFERS}"
    return ""


def environment_values(names: Iterable[str]) -> dict[str, str | None]:
    """What this process's environment holds."""
    return {name: os.environ.get(name) for name in names}


def can_pin() -> bool:
    """Whether this is an x86-64 processor under Linux with AVX2 and FMA, without which a pinned kernel would crash."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return False
    try:
        return _has_feature(*_AVX2) and _has_feature(*_FMA)
    except AttributeError:  # glibc before 2.33
        flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
        return {"avx2", "fma"} <= set(flags.split())


def _set(environment: MutableMapping[str, str], values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value


class _Leaf(ctypes.Structure):
    """``struct cpuid_feature`` of glibc's sys/platform/x86.h: what the processor has, and what the system lets use."""

    _fields_ = (("cpuid", ctypes.c_uint32 * 4), ("active", ctypes.c_uint32 * 4))


def _has_feature(leaf: int, register: int, bit: int) -> bool:
    """Whether the bit is active. Unlike /proc/cpuinfo, it tells of the processor that an emulator shows."""
    query = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    query.restype = ctypes.POINTER(_Leaf)
    return bool(query(leaf).contents.active[register] >> bit & 1)
