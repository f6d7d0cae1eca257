"""Rules of style that hold for all package code, counted in the syntax trees.

Bounds that are not zero may only go down: a change that brings a count below its bound lowers the bound.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("llm", "vlm", "data_tools", "demo")
CONSOLE = "llm/console.py"
LONGEST = 60  # lines of a function, decorators not counted

Function = ast.FunctionDef | ast.AsyncFunctionDef
MAKERS = {"list", "dict", "set", "bytearray", "defaultdict", "Counter", "OrderedDict", "deque", "ChainMap",
          "WeakKeyDictionary", "WeakValueDictionary", "WeakSet"}  # fmt: skip
MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "move_to_end", "pop",
            "popitem", "popleft", "remove", "reverse", "setdefault", "sort", "update", "difference_update",
            "intersection_update", "symmetric_difference_update"}  # fmt: skip


@cache
def package_sources() -> dict[str, str]:
    """Text of every module of the packages, by path."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def long_functions(source: str) -> list[str]:
    """Functions of more than LONGEST lines."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    return [f"{node.lineno}: {node.name}" for node in functions if _lines(node) > LONGEST]


def _lines(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def type_ignores(source: str) -> list[str]:
    """Comments that switch the type checker off."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    return [f"{token.start[0]}: {token.string}" for token in comments if "type: ignore" in token.string]


def broad_handlers(source: str) -> list[str]:
    """`except:`, `except Exception` and `except BaseException`, alone or in a tuple, unless they end in a bare `raise`.

    A handler that cleans up and raises what it caught hides nothing.
    """
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    return [f"{node.lineno}: except" for node in handlers if _is_broad(node.type) and not _raises_again(node)]


def _is_broad(kind: ast.expr | None) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(one is None or ast.unparse(one) in ("Exception", "BaseException") for one in kinds)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return ast.unparse(handler.type or handler) == "BaseException" and isinstance(last, ast.Raise) and last.exc is None


def prints(source: str) -> list[str]:
    """Calls of print."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [f"{node.lineno}: print" for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


def any_annotations(source: str) -> list[str]:
    """Parameters and variables annotated as exactly `Any`."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.arg | ast.AnnAssign)]
    return [f"{node.lineno}: Any" for node in nodes if _is_any(node.annotation)]


def _is_any(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def annotated_returns(source: str) -> list[str]:
    """`name: T = value` followed at once by `return name`: an annotation that only silences the type checker."""
    fields = (value for node in ast.walk(ast.parse(source)) for _, value in ast.iter_fields(node))
    bodies = [value for value in fields if isinstance(value, list)]
    return [
        f"{first.lineno}: {ast.unparse(first.target)}"
        for body in bodies
        for first, second in pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and first.value is not None
        and isinstance(second, ast.Return)
        and isinstance(second.value, ast.Name)
        and ast.unparse(first.target) == second.value.id
    ]


def changing_globals(source: str) -> list[str]:
    """Where module state is rebound or mutated: `global` statements, and changes of a container made at module level.

    A container is a display, a comprehension or a call of MAKERS, bound at module level here or imported by name from
    one of the packages. Changed is: an item assigned or deleted, an augmented assignment, a call of MUTATORS. A local
    variable of the same name hides the module's inside its function. Attributes set on modules and classes count too.
    """
    tree = ast.parse(source)
    containers = set(_containers(tree)) | set(_imported(tree))
    return sorted(set(_changes(tree, containers)), key=lambda fault: int(fault.partition(":")[0]))


def _containers(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_container(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_container(value: ast.expr | None) -> bool:
    displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    if not isinstance(value, ast.Call):
        return isinstance(value, displays)
    function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
    return ast.unparse(function).rpartition(".")[2] in MAKERS


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            yield from (alias.asname or alias.name for alias in node.names)


def _changes(node: ast.AST, names: set[str]) -> Iterator[str]:
    if isinstance(node, Function | ast.Lambda):
        names = names - _locals(node)
    if isinstance(node, ast.Global):
        yield f"{node.lineno}: global {', '.join(node.names)}"
    if (target := _changed(node)) in names and isinstance(node, ast.stmt | ast.expr):
        yield f"{node.lineno}: {target}"
    for child in ast.iter_child_nodes(node):
        yield from _changes(child, names)


def _locals(function: Function | ast.Lambda) -> set[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    bound = {argument.arg for argument in every if argument is not None}
    stored = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    return (bound | stored) - declared


def _changed(node: ast.AST) -> str:
    """The name of what a node changes in place; empty where it changes nothing."""
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return _root(node)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr in MUTATORS:
        return _root(called.value)
    return ""


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def unsafe_programs(source: str) -> list[str]:
    """Python programs that import from the folder they are started in, where a user's h2.py would be taken for h2."""
    found = re.finditer(r"""executable, ["']-[mc]["']""", source)
    return [f"{source.count(chr(10), 0, one.start()) + 1}: {one[0][-4:]}" for one in found]


PRINTS = "print outside the console module"
# rule -> how faults are found, and how many there may be
RULES = {
    "functions over 60 lines": (long_functions, 0),
    "type: ignore": (type_ignores, 0),
    "except Exception": (broad_handlers, 0),
    "module globals that change": (changing_globals, 0),
    PRINTS: (prints, 0),
    "programs without -P": (unsafe_programs, 0),
    "annotated exactly Any": (any_annotations, 25),
    "annotated only to be returned": (annotated_returns, 8),
}


@pytest.mark.parametrize("rule", RULES)
def test_package_code_keeps_the_rule(rule: str) -> None:
    find, bound = RULES[rule]
    sources = {file: source for file, source in package_sources().items() if (rule, file) != (PRINTS, CONSOLE)}
    assert len(sources) > 150
    faults = [f"{file}:{fault}" for file, source in sources.items() for fault in find(source)]
    assert len(faults) <= bound, f"{len(faults)} of {rule!r}, at most {bound}:\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("rule", "source", "expected"),
    [
        ("functions over 60 lines", "@cache\ndef f():\n" + "    g()\n" * 60, ["2: f"]),
        ("functions over 60 lines", "@cache\ndef f():\n" + "    g()\n" * 59, []),
        ("type: ignore", "x = f()  # type: ignore[misc]\ny = '# type: ignore'\n", ["1: # type: ignore[misc]"]),
        ("except Exception", "try:\n    f()\nexcept Exception:\n    raise\n", ["3: except"]),
        ("except Exception", "try:\n    f()\nexcept (OSError, Exception):\n    pass\n", ["3: except"]),
        ("except Exception", "try:\n    f()\nexcept:\n    raise\n", ["3: except"]),
        ("except Exception", "try:\n    f()\nexcept BaseException:\n    clean()\n", ["3: except"]),
        ("except Exception", "try:\n    f()\nexcept BaseException:\n    clean()\n    raise\n", []),
        ("except Exception", "try:\n    f()\nexcept OSError:\n    pass\n", []),
        ("module globals that change", "N = 0\ndef f():\n    global N\n    N += 1\n", ["3: global N"]),
        ("module globals that change", "D = {}\ndef f():\n    D['a'] = 1\n", ["3: D"]),
        ("module globals that change", "D: dict[str, int] = dict()\ndef f():\n    del D['a']\n", ["3: D"]),
        ("module globals that change", "L = [[]]\ndef f():\n    L[0].append(1)\n", ["3: L"]),
        ("module globals that change", "S = set[int]()\ndef f():\n    S.add(1)\n", ["3: S"]),
        ("module globals that change", "L = []\nL += [1]\n", ["2: L"]),
        ("module globals that change", "from llm.x import D\ndef f():\n    D.pop('a')\n", ["3: D"]),
        ("module globals that change", "from llm import x\ndef f():\n    x.D['a'] = 1\n", ["3: x"]),
        ("module globals that change", "from llm import x\ndef f():\n    x.LIMIT = 1\n", ["3: x"]),
        ("module globals that change", "D = {}\ndef f(D):\n    D['a'] = 1\n", []),
        ("module globals that change", "D = {}\ndef f():\n    D = {}\n    D['a'] = 1\n", []),
        ("module globals that change", "D = {1: 2}\ndef f():\n    return D.get(1), D[1]\n", []),
        (PRINTS, "import sys\nprint('x')\nsys.stdout.write('x')\n", ["2: print"]),
        ("programs without -P", "import sys\nrun([sys.executable, '-m', 'llm.x'])\n", ["2: '-m'"]),
        ("programs without -P", "run([sys.executable, '-P', '-m', 'llm.x'])\n", []),
        ("annotated exactly Any", "x: Any = f()\ndef g(y: Any, *z: Any): ...\n", ["1: Any", "2: Any", "2: Any"]),
        ("annotated exactly Any", "x: dict[str, Any] = f()\n", []),
        ("annotated only to be returned", "def f():\n    x: int = g()\n    return x\n", ["2: x"]),
        ("annotated only to be returned", "def f():\n    x: int = g()\n    return x + 1\n", []),
    ],
)
def test_each_rule_finds_its_faults_and_no_others(rule: str, source: str, expected: list[str]) -> None:
    assert RULES[rule][0](source) == expected
