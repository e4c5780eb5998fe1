"""tests/README.md says what `make bench` measured: metrics/speed.json, as committed."""

import json
import re
import statistics
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest

from stages.tools.machine import processor
from tests.benchmarks.accuracy import CHOSEN
from tests.benchmarks.accuracy import SEEDS as ACCURACY_SEEDS
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.experiments import head_commit
from tests.benchmarks.speed import (
    DENSE_ONLY,
    NETWORKS,
    PORTABLE,
    RESULTS,
    ROUNDS,
    SECONDS,
    THREADS,
    judge,
    ratio,
    write_results,
)
from tests.readme import metrics, row, section

TITLES = {
    "scratch": "NumPy",
    "torch": "PyTorch",
    "torch.compile, loss": "`torch.compile`, loss",
    "torch.compile, step": "`torch.compile`, step",
    "jax, step": "JAX, step",
    "jax, epoch": "JAX, epoch",
    "tutorial": "tutorial",
    "scikit-learn": "scikit-learn",
    "floor": "floor",
}

MEASURED = {"Intel(R) Xeon(R) Processor": "Intel Xeon", "AMD EPYC": "AMD EPYC"}  # the first has the full tables
NEWEST = next(iter(MEASURED))
SECONDS_MEASURED_ON = "AMD EPYC"


def speed_rows(threads: int) -> Iterator[str]:
    results = metrics("speed")[NEWEST]
    times: dict[str, dict[str, list[float]]] = {
        network: results[network][str(threads)]["milliseconds"] for network in NETWORKS
    }
    for name, title in TITLES.items():
        yield row(title, *(milliseconds(each[name]) if name in each else "" for each in times.values()))
    verdicts = [judge(network, threads, each) for network, each in times.items()]
    relative = "NumPy's speed relative to"
    yield row(f"**{relative} the best of the others**", *(f"{each.against_best:.2f}x" for each in verdicts))
    yield row("which is", *(TITLES[each.best] for each in verdicts))
    yield row(
        f"**{relative} PyTorch's**", *(f"{ratio(each['torch'], each['scratch']):.2f}x" for each in times.values())
    )
    yield row(f"**{relative} the floor**", *(f"{each.of_floor:.2f}x" for each in verdicts))
    for name in ("scratch", "torch"):
        memory = (results[network][str(threads)]["mebibytes"][name] for network in NETWORKS)
        yield row(f"{TITLES[name]}, peak memory in MiB", *map(str, memory))
    for name, engine in PORTABLE.items():
        ratios = [ratio(each[name], each[engine]) for each in times.values()]
        yield row(f"{TITLES[engine]}, portable / native", *(f"{each:.2f}" for each in ratios))


def processor_rows() -> Iterator[str]:
    """NumPy against the best of the others, on every processor."""
    for model, title in MEASURED.items():
        results = metrics("speed")[model]
        for threads in THREADS:
            verdicts = [judge(name, threads, results[name][str(threads)]["milliseconds"]) for name in NETWORKS]
            cells = (f"{each.against_best:.2f}x, {TITLES[each.best]}" for each in verdicts)
            yield row(f"{title}, {'one thread' if threads == 1 else 'two threads'}", *cells)


def milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} ({min(times):.2f})"


def spread(seconds: list[float]) -> str:
    median, low, high = statistics.median(seconds), min(seconds), max(seconds)
    digits = 2 if median < 2 else 1 if median < 10 else 0
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def test_every_contender_and_network_is_in_the_table() -> None:
    assert TITLES.keys() == CONTENDERS.keys()
    assert metrics("speed").keys() >= MEASURED.keys()  # a reader may have measured one more
    for model, network, threads in product(MEASURED, NETWORKS, THREADS):
        times = metrics("speed")[model][network][str(threads)]["milliseconds"]
        left_out = DENSE_ONLY if NETWORKS[network][0] else set()
        assert times.keys() == (CONTENDERS.keys() | PORTABLE.keys()) - left_out
        assert {len(each) for each in times.values()} == {ROUNDS}


@pytest.mark.parametrize("threads", THREADS)
def test_the_table_of_steps_is_what_was_measured(threads: int) -> None:
    text = section("tests/README.md", "Speed")
    missing = [line for line in speed_rows(threads) if line not in text]
    assert not missing, "tests/README.md lacks:\n" + "\n".join(missing)


def test_the_table_of_processors_is_what_was_measured() -> None:
    text = section("tests/README.md", "Speed")
    missing = [line for line in processor_rows() if line not in text]
    assert not missing, "tests/README.md lacks:\n" + "\n".join(missing)


def test_the_table_of_seconds_to_an_accuracy_is_what_was_measured() -> None:
    text, results = section("tests/README.md", "Speed"), metrics("speed")[SECONDS_MEASURED_ON][SECONDS]
    for goal in CHOSEN:
        runs = [results[engine][f"{goal:.1%}"] for engine in ("scratch", "torch")]
        assert {len(each) for each in runs} == {len(ACCURACY_SEEDS)}
        scratch, torch = (re.escape(spread(each)) for each in runs)
        assert re.search(rf"^\| {100 * goal:g} % \| .* \| {scratch} \| .* \| {torch} \|$", text, re.MULTILINE), (
            f"tests/README.md lacks {goal:.1%}: {spread(runs[0])}, {spread(runs[1])}"
        )


def test_what_portable_arithmetic_costs_is_what_was_measured() -> None:
    texts = []
    for is_convolutional in (False, True):
        names = [name for name, (channels, _) in NETWORKS.items() if bool(channels) == is_convolutional]
        texts.append(f"{portable_to_native('torch', names)} times")
    sentence = (
        f"PyTorch's step takes {texts[0]} as long for a dense network, {texts[1]} for a convolutional one, and NumPy's "
        f"{portable_to_native('scratch', NETWORKS)} times."
    )
    assert sentence in " ".join(section("stages/README.md", "The same bytes on every machine").split())


def portable_to_native(engine: str, networks: Iterable[str]) -> str:
    """The smallest and the largest ratio of a step's times, on every processor."""
    measured = [metrics("speed")[model][name] for model in MEASURED for name in networks]
    times = [each[str(threads)]["milliseconds"] for each in measured for threads in THREADS]
    ratios = [ratio(each[f"{engine}, portable"], each[engine]) for each in times]
    return f"{min(ratios):.1f} to {max(ratios):.1f}"


def test_the_measured_commits_are_named() -> None:
    text = section("tests/README.md", "Speed")
    newest, other = ({metrics("speed")[model][network]["commit"] for network in NETWORKS} for model in MEASURED)
    seconds = metrics("speed")[SECONDS_MEASURED_ON][SECONDS]["commit"]
    assert re.findall(r"Measured at commit ([0-9a-f]{7})", text) == [*newest, seconds]
    assert re.findall(r"The same comparison on another processor, .* at commit ([0-9a-f]{7}):", text) == [*other]


def test_results_of_other_processors_and_networks_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    others, own = {"another": {SECONDS: {"commit": "a"}}}, {"conv-16-32-128": {"commit": "b"}, SECONDS: {"commit": "c"}}
    RESULTS.parent.mkdir()
    RESULTS.write_text(json.dumps({**others, processor(): own}), encoding="utf-8")
    write_results(SECONDS, {"scratch": 2})
    expected = {**own, SECONDS: {"commit": head_commit(), "scratch": 2}}
    assert json.loads(RESULTS.read_text(encoding="utf-8")) == {**others, processor(): expected}
