"""The mutants of a module: of a table of mistakes chosen by hand, and of operators."""

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.imports import ROOT
from tests.mutation.operators import mutated_sources

MISTAKES = ROOT / "tests/mutation/mistakes.txt"


class Mutant(NamedTuple):
    """A module with one mistake."""

    path: str
    is_chosen: bool  # by hand
    lines: range  # in the original
    change: str  # the function and the changed lines, which other changes in the module do not move
    source: str


class Entry(NamedTuple):
    """A mistake chosen by hand."""

    path: str
    title: str
    old: str
    new: str


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of a module that compiles, those chosen by hand first, no source twice."""
    text = (ROOT / path).read_text(encoding="utf-8")
    seen = {text}
    for is_chosen, sources in ((True, chosen(path, text)), (False, mutated_sources(text))):
        for source in sources:
            if source not in seen and _compiles(source):
                seen.add(source)
                yield Mutant(path, is_chosen, *_describe(text, source), source)


def chosen(path: str, text: str) -> Iterator[str]:
    """The mistakes of mistakes.txt. Raises ValueError for one whose old text does not stand once in its module."""
    for entry in entries():
        if entry.path == path:
            if text.count(entry.old) != 1:
                raise ValueError(f"{MISTAKES.name}: {path}: {entry.title}: {entry.old!r} must stand there once")
            yield text.replace(entry.old, entry.new)


def entries() -> list[Entry]:
    """What mistakes.txt holds: ``=== MODULE | what is wrong``, then ``--- old text`` and ``+++ new text``."""
    found = []
    for block in re.split(r"^=== ", MISTAKES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        header, _, body = block.rstrip("\n").partition("\n")
        path, _, title = header.partition(" | ")
        old, _, new = body.removeprefix("--- ").partition("\n+++ ")
        found.append(Entry(path, title, old, new))
    return found


def chosen_modules() -> set[str]:
    """The modules in which mistakes were chosen by hand."""
    return {entry.path for entry in entries()}


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _describe(text: str, source: str) -> tuple[range, str]:
    """The lines of the change, and what it is."""
    before, after = text.splitlines(), source.splitlines()
    opcodes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changes = [code for code in opcodes if code[0] != "equal"]
    (_, start, _, new_start, _), (*_, end, _, new_end) = changes[0], changes[-1]
    old, new = (" ".join(map(str.strip, lines)) for lines in (before[start:end], after[new_start:new_end]))
    scopes = re.findall(r"^\s*(?:def|class) (\w+)", "\n".join(before[: max(start + 1, end)]), re.MULTILINE)
    return range(start + 1, end + 1), f"{scopes[-1] if scopes else 'module'}: {old} -> {new}"
