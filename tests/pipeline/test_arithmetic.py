"""Which kernels a stage computes with, whatever the environment says."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.pipeline import arithmetic
from tests.imports import ROOT

STAGES = ("fetch", "evaluate scratch", "plot")  # of which only the first needs more of params.yaml

needs_pins = pytest.mark.skipif(not arithmetic.can_pin(), reason="only x86-64 with AVX2 and FMA under Linux is pinned")

# What a user's shell, or a cluster's, may hold.
HOSTILE = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "4",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "OMP_NUM_THREADS": "4",
    "OMP_THREAD_LIMIT": "1",
    "OMP_MAX_ACTIVE_LEVELS": "0",
    "MKL_DOMAIN_NUM_THREADS": "MKL_DOMAIN_BLAS=2",
}
# A module of stages/ for the time of a test, so that it starts as all of them do. MKL and oneDNN say themselves what
# they take.
PROBE = """
import json, os
os.environ |= {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
import numpy, scipy.linalg, torch
from threadpoolctl import threadpool_info

torch.randn(64, 64) @ torch.randn(64, 64)
torch.conv2d(torch.randn(64, 1, 28, 28), torch.randn(8, 1, 5, 5))
print(json.dumps({
    "OpenBLAS": sorted({library["architecture"] for library in threadpool_info() if "architecture" in library}),
    "NumPy": numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
    "ATen": torch.backends.cpu.get_cpu_capability(),
    "threads": sorted({library["num_threads"] for library in threadpool_info()} | {torch.get_num_threads()}),
    "environment": dict(os.environ),
}))
"""


def probe(folder: Path, choice: str) -> tuple[dict[str, Any], str]:
    """What a stage finds with this ``arithmetic`` in params.yaml, started in a hostile environment, and its output."""
    for name in ("stages/__init__.py", "stages/pipeline/__init__.py", "stages/pipeline/arithmetic.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "stages/probe.py").write_text(PROBE, encoding="utf-8")
    (folder / "params.yaml").write_text(f"arithmetic: {choice}\n", encoding="utf-8")
    command = [sys.executable, "-m", "stages.probe"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **HOSTILE}, stdout=subprocess.PIPE, text=True, check=True
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(line), done.stdout


@needs_pins
def test_portable_pins_every_kernel_whatever_the_environment_says(tmp_path: Path) -> None:
    found, output = probe(tmp_path, "portable")
    environment = found.pop("environment")
    assert found == {"OpenBLAS": ["Haswell"], "NumPy": ["X86_V3"], "ATen": "AVX2", "threads": [1]}
    assert re.search(r"^MKL_VERBOSE SGEMM.* CNR:COMPATIBLE .* NThr:1$", output, re.MULTILINE)
    assert "onednn_verbose,v1,info,cpu,isa:Intel AVX2\n" in output
    assert "convolution,jit:avx2," in output
    promised = arithmetic.THREADS_AND_PRECISION | arithmetic.KERNELS
    assert {name: environment.get(name) for name in promised} == promised


@needs_pins
def test_native_leaves_the_kernels_to_the_environment_and_takes_one_thread_all_the_same(tmp_path: Path) -> None:
    found, output = probe(tmp_path, "native")
    assert (found["OpenBLAS"], found["ATen"], found["threads"]) == (["Nehalem"], "DEFAULT", [1])
    assert "isa:Intel SSE4.1\n" in output


@needs_pins
def test_a_stage_that_was_not_started_as_a_module_says_that_nothing_is_pinned() -> None:
    """Under a profiler, for example."""
    command = [sys.executable, "-m", "cProfile", "-m", "stages.engines.config"]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr.startswith("note: kernels and threads are only set by `python -m stages.NAME`: ")


def test_every_kernel_of_this_numpy_above_avx2_is_disabled() -> None:
    """NumPy's names for them change: this fails for a release that has others."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    dispatched = {*extensions.get("found", []), *extensions.get("not found", [])}
    if platform.machine() == "x86_64":
        disabled = arithmetic.KERNELS["NPY_DISABLE_CPU_FEATURES"]
        assert dispatched - {"X86_V3"} == set((disabled or "").split())


@pytest.mark.parametrize("stage", STAGES)
def test_an_unknown_arithmetic_is_refused_by_every_stage(tmp_path: Path, stage: str) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("arithmetic: portable", "arithmetic: fast"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *f"stages.{stage}".split()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "error: arithmetic: must be one of portable or native, got 'fast'\n"
    assert done.returncode == 1


# What the libraries' documentation says, named once more, so that no letter of it changes unseen: the bytes of every
# committed result depend on these.
THREADS = {
    **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    **{"MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0"},
}
KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "ATEN_CPU_CAPABILITY": "avx2",
}
REMOVED_THREADS = ("MKL_DOMAIN_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS")
REMOVED_KERNELS = (
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_BLOCK_FACTOR",
    "NPY_ENABLE_CPU_FEATURES",
    "MKL_ENABLE_INSTRUCTIONS",
)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that says something else of everything."""
    values = dict.fromkeys((*THREADS, *KERNELS, *REMOVED_THREADS, *REMOVED_KERNELS), "3")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.mark.parametrize(
    ("text", "has_features", "is_pinned"),
    [
        ("arithmetic: portable", True, True),
        ("arithmetic: portable", False, False),
        ("arithmetic: native", True, False),
        (None, True, True),
        ("seed: [", True, True),
        ("seed: 1", True, True),
    ],
)
def test_a_stage_sets_and_removes_these_variables(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hostile: dict[str, str],
    text: str | None,
    has_features: bool,
    is_pinned: bool,
) -> None:
    if text:
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arithmetic, "can_pin", lambda: has_features)
    before = dict(os.environ)
    arithmetic.prepare()
    assert {name: value for name, value in os.environ.items() if name in hostile} == (
        THREADS | (KERNELS if is_pinned else dict.fromkeys((*KERNELS, *REMOVED_KERNELS), "3"))
    )
    assert {**before, **os.environ} == {**before, **{name: os.environ[name] for name in hostile if name in os.environ}}


@pytest.mark.usefixtures("hostile")
def test_a_warning_names_what_keeps_a_process_from_the_promised_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("arithmetic: portable", encoding="utf-8")
    features = {"present": True}
    monkeypatch.setattr(arithmetic, "can_pin", lambda: features["present"])
    not_set = "kernels and threads are only set by `python -m stages.NAME`: results may differ in the last digits"
    assert arithmetic.warning("portable") == arithmetic.warning("native") == not_set
    arithmetic.prepare(tmp_path / "params.yaml")
    assert arithmetic.warning("portable") == arithmetic.warning("native") == ""
    for name in (*KERNELS, *REMOVED_KERNELS):
        with monkeypatch.context() as context:
            context.setenv(name, "4")
            assert (arithmetic.warning("portable"), arithmetic.warning("native")) == (not_set, "")
    for name in (*THREADS, *REMOVED_THREADS):
        with monkeypatch.context() as context:
            context.setenv(name, "4")
            assert arithmetic.warning("portable") == arithmetic.warning("native") == not_set
    features["present"] = False
    assert arithmetic.warning("native") == ""
    assert arithmetic.warning("portable") == (
        "this processor is not an x86-64 with AVX2 and FMA under Linux: results may differ in the last digits"
    )


# CPUID in Intel's manual: leaf 1 is glibc's 0, leaf 7 its 1; registers eax, ebx, ecx, edx.
FEATURES = {"sse2": (0, 3, 26), "sse4_1": (0, 2, 19), "bmi1": (1, 1, 3), "erms": (1, 1, 9), "avx512f": (1, 1, 16)}


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="asks glibc of an x86-64")
def test_the_processors_features_are_those_that_the_kernel_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (arithmetic._FMA, arithmetic._AVX2) == ((0, 2, 12), (1, 1, 5))
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    for name, place in {**FEATURES, "fma": arithmetic._FMA, "avx2": arithmetic._AVX2}.items():
        assert arithmetic._has_feature(*place) == (name in flags), name
    assert arithmetic.can_pin() == ({"fma", "avx2"} <= set(flags))

    present = {arithmetic._FMA: True, arithmetic._AVX2: True}
    monkeypatch.setattr(arithmetic, "_has_feature", lambda *place: present[place])
    assert arithmetic.can_pin()
    for place in present:
        present[place] = False
        assert not arithmetic.can_pin()
        present[place] = True
    with monkeypatch.context() as context:
        context.setattr(sys, "platform", "darwin")
        assert not arithmetic.can_pin()
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*system[:4], "aarch64")))
    assert not arithmetic.can_pin()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 fma sse\n\nflags\t: fpu\n", True),
        ("processor: 0\nflags\t\t: fpu avx2 sse\n", False),
        ("processor: 0\nflags\t\t: fpu fma fma4 sse\n", False),
        ("processor: 0\nvmx flags: avx2 fma\n", False),
        ("", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="only there is it asked")
def test_an_old_glibc_leaves_it_to_the_kernels_list(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    def without_query(*_: int) -> bool:
        raise AttributeError("undefined symbol: __x86_get_cpuid_feature_leaf")

    monkeypatch.setattr(arithmetic, "_has_feature", without_query)
    monkeypatch.setattr(Path, "read_text", lambda path: text if str(path) == "/proc/cpuinfo" else "")
    assert arithmetic.can_pin() == expected


def test_importing_the_library_changes_no_environment() -> None:
    code = "import os; before = dict(os.environ); import stages.engines.scratch.nn; assert os.environ == before"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "4"}, check=True)
