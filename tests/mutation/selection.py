"""Which tests run which line: read from one run of them without a mistake, under coverage.py."""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from coverage import Coverage, CoverageData

Tests = tuple[str, ...]
OUTSIDE = ""  # the context of what no test runs
QUICK = 0.1  # seconds
_DATA, _SECONDS = "mutation.coverage", "mutation.json"


class Recorder:
    """A pytest plugin that records which test runs which line, and how long it takes."""

    def __init__(self) -> None:
        self._coverage = Coverage(_DATA, source=["stages"], config_file=False)
        self._seconds: dict[str, float] = defaultdict(float)
        self._context = OUTSIDE

    def pytest_sessionstart(self) -> None:
        """Begin before the tests are collected, which loads the modules."""
        self._coverage.start()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what cannot run under coverage.py: an interruption may leave its lock locked for ever."""
        items[:] = [item for item in items if not item.get_closest_marker("interrupting")]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """All that a test does counts as the test's. So that it does it, no function keeps what it has returned."""
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in ("stages", "tests"):
                for each in vars(module).values():
                    getattr(each, "cache_clear", lambda: None)()
        with self._in_context(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, request: pytest.FixtureRequest) -> object:
        """What a file's tests share counts as the file's."""
        with self._in_context(request.node.nodeid):
            return (yield)

    @contextmanager
    def _in_context(self, context: str) -> Iterator[None]:
        before, self._context = self._context, context
        self._coverage.switch_context(context)
        try:
            yield
        finally:
            self._context = before
            self._coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the seconds of a test's setup, call and teardown."""
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Leave the records in the current folder."""
        self._coverage.stop()
        self._coverage.save()
        Path(_SECONDS).write_text(json.dumps(self._seconds), encoding="utf-8")


class Selection:
    """Selects tests from the records that were left in some folders."""

    def __init__(self) -> None:
        self._by_line: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._seconds: dict[str, float] = {}
        self._kills: dict[str, Counter[str]] = defaultdict(Counter)

    def read(self, folder: Path) -> None:
        """Add a folder's records."""
        self._seconds |= json.loads((folder / _SECONDS).read_text(encoding="utf-8"))
        in_file: dict[str, list[str]] = defaultdict(list)
        for test in self._seconds:
            in_file[test.partition("::")[0]].append(test)
        data = CoverageData(str(folder / _DATA))
        data.read()
        for file in data.measured_files():
            lines = self._by_line[Path(file).relative_to(folder).as_posix()]
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in contexts:
                    lines[line].update(in_file.get(context, [context]))

    def tests(self, path: str, lines: Iterable[int], area: tuple[str, ...]) -> Tests:
        """The tests that may see a mistake in one of the lines, those first that are likely to fail or quick.

        Those come first that have killed the most mutants of the module, then those that run one of the lines, then
        those of the module's own file, which may run it in another process. What is run when the module is loaded, such
        as constants and defaults, concerns every test that runs any line of it, and the area's quick ones, which may
        read it and run none.
        """
        by_line, own, kills = self._by_line[path], f"test_{Path(path).stem}.py::", self._kills[path]
        running = {test for line in lines for test in by_line.get(line, {OUTSIDE})}
        others = {test for test in self._seconds if own in test}
        if OUTSIDE in running:
            running = {test for each in by_line.values() for test in each} - {OUTSIDE}
            others |= {test for test in self._seconds if test.startswith(area) and self._seconds[test] < QUICK}
        order = {test: (-kills[test], test not in running, self._seconds[test], test) for test in running | others}
        return tuple(sorted(order, key=order.__getitem__))

    def count_kill(self, path: str, output: str) -> None:
        """Remember which test has killed a mutant, from what pytest printed."""
        for test in re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE):
            self._kills[path][test] += 1

    def seconds(self, tests: Tests) -> float:
        """How long these tests take without a mistake."""
        return sum(self._seconds[test] for test in tests)
