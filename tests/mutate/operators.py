"""Mutants of a module: its source with one small fault in it, each of a kind that programmers make.

mutmut 3 replaces every function by a dispatcher, which autograd functions, `inspect` and started processes do not
survive, and it draws no sample; cosmic-ray drops no call and swaps no argument, and starts a new interpreter for each
mutant, of which importing torch and transformers alone takes 8 s. So the faults are made here, over the syntax tree.
"""

import ast
import hashlib
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.MatMult: ast.Mult,
}
# Calls that give something of the kind they are given: without any other, the next line would fail in every test.
BUILTIN = {"abs", "list", "tuple", "sorted", "reversed", "set", "round", "int", "float", "bool", "str"}
OF_TENSORS = {"detach", "clone", "contiguous", "double", "half", "cpu", "flatten", "squeeze", "exp", "log", "sqrt"}
OTHER = {"t", "neg", "mean", "sum", "copy", "strip", "rstrip", "lstrip", "lower", "resolve", "absolute", "expanduser"}
COMMUTATIVE = {"eq", "ne", "max", "min", "maximum", "minimum", "gcd", "isdisjoint"}
LIKE = BUILTIN | OF_TENSORS | OTHER
Offsets = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the bytes from `start` to `end` of `path` become `after`."""

    path: str
    scope: str  # the class and function it is in
    kind: str
    line: int
    last_line: int
    before: str
    after: str
    start: int
    end: int
    number: int  # among those of the same words in the same scope

    @property
    def name(self) -> str:
        """Ten hex digits that stay as they are when lines above it come and go."""
        words = "\0".join((self.path, self.scope, self.kind, self.before, self.after, str(self.number)))
        return hashlib.sha256(words.encode()).hexdigest()[:10]

    def applied(self, source: bytes) -> bytes:
        """The module with the fault in it."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of the text; `compiles` says whether it is Python.

    Left as they are: types, decorators, assertions and `strict=` (which only guard against other faults), and what
    an error says.
    """
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return finder.found


def compiles(mutant: Mutant, source: bytes) -> bool:
    """Whether Python takes the module with the fault in it."""
    try:
        compile(mutant.applied(source), "mutant", "exec")
    except SyntaxError:
        return False
    return True


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.found: list[Mutant] = []
        self._scope: list[str] = []
        self._optional: list[bool] = []  # whether the functions around may give None
        self._seen: dict[tuple[str, ...], int] = {}
        lengths = [len(line) for line in source.splitlines(keepends=True)]
        self._modules: set[str] = set()
        self._starts = [sum(lengths[:number]) for number in range(len(lengths))]

    def _offsets(self, node: ast.expr | ast.stmt) -> Offsets:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, kind: str, node: ast.expr | ast.stmt, after: str) -> None:
        start, end = self._offsets(node)
        before = self.source[start:end].decode()
        scope = ".".join(self._scope)
        key = (scope, kind, before, after)
        number = self._seen.get(key, 0)
        self._seen[key] = number + 1
        last = node.end_lineno or node.lineno
        self.found.append(Mutant(self.path, scope, kind, node.lineno, last, before, after, start, end, number))

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._offsets(node)
        return self.source[start:end].decode()

    # What is left as it is

    def visit_Assert(self, node: ast.Assert) -> None:
        """An assertion guards against other faults."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.11 does not say where the parts of an f-string are."""

    def visit_Import(self, node: ast.Import) -> None:
        self._modules |= {name.asname or name.name.partition(".")[0] for name in node.names}

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    # Statements

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._optional.append(node.returns is not None and "None" in ast.unparse(node.returns))
        for default in (*node.args.defaults, *(part for part in node.args.kw_defaults if part is not None)):
            self.visit(default)
        self._inside(node)
        self._optional.pop()

    def _inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._scope.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Call):
            self._add("dropped call", node, "pass")
            self._arguments(node.value)
            return
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add("dropped raise", node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not _constant(node.value) and self._optional[-1]:
            self._add("return", node, "return None")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._add("dropped statement", node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._add("dropped statement", node, "pass")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target, value = self._text(node.target), self._text(node.value)
        self._add("dropped statement", node, "pass")
        opposite = ARITHMETIC[type(node.op)]
        self._add("arithmetic", node, f"{target} {_symbol(opposite)}= {value}")
        self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        self._add("condition", node.test, "True")
        self._add("condition", node.test, "False")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not _constant(node.test):
            self._add("condition", node.test, "False")
        self.generic_visit(node)

    # Expressions

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._add("condition", node.test, "True")
        self._add("condition", node.test, "False")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._add("condition", test, "True")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            words = [self._text(node.left)]
            for place, (found, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
                symbol = COMPARISONS[type(operator)] if place == index else _comparison(found)
                words += [symbol, self._text(right)]
            self._add("comparison", node, "(" + " ".join(words) + ")")
        for side in (node.left, *node.comparators):
            if isinstance(side, ast.Constant) and isinstance(side.value, str):
                self._add("constant", side, repr("mutant of " + side.value))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        symbol = " or " if isinstance(node.op, ast.And) else " and "
        self._add("boolean", node, "(" + symbol.join(f"({self._text(part)})" for part in node.values) + ")")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add("boolean", node, f"bool({self._text(node.operand)})")
        elif isinstance(node.op, ast.USub):
            self._add("arithmetic", node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        left, right = self._text(node.left), self._text(node.right)
        self._add("arithmetic", node, f"(({left}) {_symbol(ARITHMETIC[type(node.op)])} ({right}))")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value is True or node.value is False:
            self._add("constant", node, repr(not node.value))
        elif isinstance(node.value, int):
            self._add("constant", node, repr(node.value + 1))
        elif isinstance(node.value, float):
            self._add("constant", node, repr(node.value * 2 or 1.0))

    def visit_Call(self, node: ast.Call) -> None:
        plain = [part for part in node.args if not isinstance(part, ast.Starred)]
        if _called(node.func) not in LIKE:
            pass
        elif len(node.args) == 1 and plain and not node.keywords:
            self._add("dropped call", node, f"({self._text(plain[0])})")
        elif not node.args and not node.keywords and isinstance(node.func, ast.Attribute):
            self._without_method(node, node.func.value)
        self._arguments(node)

    def _without_method(self, node: ast.Call, owner: ast.expr) -> None:
        if not (isinstance(owner, ast.Name) and owner.id in self._modules):
            self._add("dropped call", node, f"({self._text(owner)})")

    def _arguments(self, node: ast.Call) -> None:
        function = self._text(node.func)
        plain = [part for part in node.args if not isinstance(part, ast.Starred)]
        commutes = _called(node.func) in COMMUTATIVE
        if len(plain) >= 2 and plain == node.args and not commutes and self._text(plain[0]) != self._text(plain[1]):
            others = [*(self._text(part) for part in plain[2:]), *(_keyword(self, part) for part in node.keywords)]
            arguments = ", ".join([self._text(plain[1]), self._text(plain[0]), *others])
            self._add("swapped arguments", node, f"{function}({arguments})")
        for keyword in node.keywords:
            if keyword.arg not in (None, "strict"):
                kept = [
                    *map(self._text, node.args),
                    *(_keyword(self, part) for part in node.keywords if part != keyword),
                ]
                self._add("dropped argument", node, f"{function}({', '.join(kept)})")
        self.visit(node.func)
        for part in node.args:
            self.visit(part)
        for keyword in node.keywords:
            if keyword.arg != "strict":
                self.visit(keyword.value)


def _keyword(finder: _Finder, keyword: ast.keyword) -> str:
    value = finder._text(keyword.value)
    return f"**{value}" if keyword.arg is None else f"{keyword.arg}={value}"


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def _comparison(operator: ast.cmpop) -> str:
    words = ast.unparse(ast.Compare(ast.Name("a"), [operator], [ast.Name("b")]))
    return words[2:-2]


def _symbol(operator: type[ast.operator]) -> str:
    return ast.unparse(ast.BinOp(ast.Name("a"), operator(), ast.Name("b")))[2:-2]
