"""Which mistakes are made: mutmut's operators, some that it lacks, and for backward passes those of gradients.

mutmut is used for its operators alone: it puts its mutants behind functions of other names and signatures, which
changes what the tests read, and passes over constants and decorated functions.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import libcst as cst
import libcst.matchers as m
from mutmut.mutation.mutators import mutation_operators

Operators = list[tuple[Any, Callable[[Any], Iterable[cst.CSTNode]]]]  # the type of node, and what it becomes

TALK = m.Call(
    func=m.Name("print") | m.Name("PipelineError") | m.Name("tqdm") | m.Attribute(attr=m.Name("set_postfix_str"))
)
# What is only said, to a person or a type checker, computes nothing; what starts a script runs in a process of its own,
# where tests/pipeline/test_params.py sees it.
SAID = m.OneOf(
    m.Annotation(),
    m.Raise(),
    TALK,
    m.SimpleStatementLine(body=[m.Expr(value=TALK)]),
    m.SimpleString(value=m.MatchIfTrue(lambda text: " " in text)),
    m.Expr(value=m.SimpleString() | m.ConcatenatedString()),
    m.If(test=m.Comparison(left=m.Name("__name__"))),
    m.Import(),
    m.ImportFrom(),
    m.Assign(value=m.Subscript(value=m.Name("NDArray") | m.Name("Callable") | m.Name("dict") | m.Name("list"))),
    m.Assign(value=m.Call(func=m.Name("TypeVar"))),
)
SYMMETRIC = m.Name("min") | m.Name("max") | m.Name("minimum") | m.Name("maximum")
FRESH = m.Name("zeros") | m.Name("empty") | m.Name("empty_like")  # zeros have no sign, fresh memory no meaning
MEMORY = m.Call(func=m.Attribute(attr=FRESH))


def mutated_sources(text: str) -> Iterator[str]:
    """The source of a module with each mistake in each of its nodes."""
    module = cst.parse_module(text)
    collector = _Collector()
    module.visit(collector)
    for operators, nodes in ((GENERAL, collector.nodes), (OF_GRADIENTS, collector.backward_nodes)):
        for node in nodes:
            for kind, operator in operators:
                for mutated in operator(node) if isinstance(node, kind) else ():
                    changed = module.deep_replace(node, mutated)
                    assert isinstance(changed, cst.Module)
                    yield changed.code


class _Collector(cst.CSTVisitor):
    """Every node that is not only said, and those in functions whose names begin with backward."""

    def __init__(self) -> None:
        self.nodes: list[cst.CSTNode] = []
        self.backward_nodes: list[cst.CSTNode] = []
        self._depth = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, SAID):
            return False
        self.nodes.append(node)
        if self._depth:
            self.backward_nodes.append(node)
        self._depth += _is_backward(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._depth -= _is_backward(original_node)


def _is_backward(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.FunctionDef) and node.name.value.startswith("backward")


def statement_left_out(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """A call or an update that does not happen."""
    if m.matches(node, m.SimpleStatementLine([m.Expr(value=m.Call()) | m.AugAssign()])):
        yield node.with_changes(body=[cst.Pass()])


def condition_forced(node: cst.If) -> Iterator[cst.CSTNode]:
    """``if True`` and ``if False``."""
    for value in ("True", "False"):
        yield node.with_changes(test=cst.Name(value), whitespace_before_test=cst.SimpleWhitespace(" "))


def arguments_swapped(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Two positional arguments that change places, where that makes a difference."""
    if m.matches(node.func, SYMMETRIC | m.Attribute(attr=SYMMETRIC)):
        return
    if len(node.args) == 2 and not any(argument.keyword or argument.star for argument in node.args):
        first, second = node.args
        yield node.with_changes(args=[first.with_changes(value=second.value), second.with_changes(value=first.value)])


def sign_and_factor(node: cst.Assign | cst.AnnAssign | cst.AugAssign | cst.Return) -> Iterator[cst.CSTNode]:
    """What is computed, negated and doubled."""
    value = node.value
    if value and not m.matches(value, MEMORY | m.Tuple() | m.SimpleString()):
        bracketed = value.with_changes(lpar=[*value.lpar, cst.LeftParen()], rpar=[*value.rpar, cst.RightParen()])
        yield node.with_changes(value=cst.UnaryOperation(cst.Minus(), bracketed))
        yield node.with_changes(value=cst.BinaryOperation(cst.Integer("2"), cst.Multiply(), bracketed))


def term_left_out(node: cst.BinaryOperation) -> Iterator[cst.CSTNode]:
    """One of two operands by itself."""
    yield node.left
    yield node.right


def transposition_left_out(node: cst.Attribute) -> Iterator[cst.CSTNode]:
    """``x`` for ``x.T``."""
    if node.attr.value == "T":
        yield node.value


def other_axis(node: cst.Arg) -> Iterator[cst.CSTNode]:
    """Axis 1 for 0, and 0 for any other."""
    if m.matches(node, m.Arg(keyword=m.Name("axis"), value=m.Integer())):
        yield node.with_changes(value=cst.Integer("1" if m.matches(node.value, m.Integer("0")) else "0"))


GENERAL: Operators = [
    *mutation_operators,
    (cst.SimpleStatementLine, statement_left_out),
    (cst.If, condition_forced),
    (cst.Call, arguments_swapped),
]
OF_GRADIENTS: Operators = [
    ((cst.Assign, cst.AnnAssign, cst.AugAssign, cst.Return), sign_and_factor),
    (cst.BinaryOperation, term_left_out),
    (cst.Attribute, transposition_left_out),
    (cst.Arg, other_axis),
]
