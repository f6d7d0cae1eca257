"""The import law of the project, held by walking the syntax trees (design, section 1)."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# package -> our packages it may import, itself included
MAY_IMPORT = {
    "llm": {"llm"},
    "vlm": {"llm", "vlm"},
    "data_tools": {"llm", "vlm", "data_tools"},
    "demo": {"llm", "vlm", "data_tools", "demo"},
}
OURS = set(MAY_IMPORT) | {"tests", "benchmarks", "configs"}
EXCEPTIONS = dict.fromkeys(("vlm.cli", "vlm.cli_data"), OURS - {"tests", "benchmarks"})  # but only inside its commands

TORCH_FREE = ("llm.conversation", "llm.template", "llm.config", "llm.errors", "llm.load", "llm.packing",
              "vlm.config", "vlm.recipes", "vlm.cli", "vlm.cli_data", "vlm.service")  # fmt: skip
HEAVY = {"torch", "transformers", "peft"}
OPTIONAL = {"deepspeed", "bitsandbytes", "flash_attn", "open_clip", "timm", "torchvision", "gguf", "xllamacpp",
            "datasets", "gradio", "fastapi", "uvicorn", "openai"}  # fmt: skip
OPTIONAL_HOME = {
    "demo": {"gradio", "fastapi", "uvicorn"},
    "vlm/gguf": {"gguf", "xllamacpp"},
}  # the packages that exist for them

DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "PyYAML",
    "jinja2": "Jinja2",
    "open_clip": "open_clip_torch",
    "google": "protobuf",
}
# Hard dependencies of our dependencies whose types we name, and packages found, never required.
IMPLIED = {"pydantic_core", "tokenizers", "huggingface_hub"}
NEVER_REQUIRED = {"flash_attn"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, where, and whether it happens when the file is imported."""

    module: str
    file: str
    line: int
    at_import: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


@cache
def imports_of(source: str, file: str) -> tuple[Import, ...]:
    """Every import of a file; those in functions and under TYPE_CHECKING do not happen at import."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, file, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import; write the package's name"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", file, node.lineno, at_import)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_typing_only(node)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_import and not later)

    return tuple(walk(ast.parse(source), True))


def _is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _top(module: str) -> str:
    return module.partition(".")[0]


def layer_faults(source: str, file: str) -> list[str]:
    """Imports of `file` (such as llm/loop.py) that point the wrong way."""
    module = _module(file)
    faults = []
    for found in imports_of(source, file):
        target = _top(found.module)
        allowed = MAY_IMPORT[_top(module)]
        if not found.at_import:
            allowed = allowed | EXCEPTIONS.get(module, set())
        if target in OURS and target not in allowed:
            faults.append(str(found))
    return faults


def optional_faults(source: str, file: str) -> list[str]:
    """Optional packages imported by `file` outside a function."""
    homes = {name for home, names in OPTIONAL_HOME.items() if file.startswith(f"{home}/") for name in names}
    return [
        str(found) for found in imports_of(source, file) if found.at_import and _top(found.module) in OPTIONAL - homes
    ]


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _files() -> dict[str, str]:
    paths = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def heavy_chain(module: str, sources: dict[str, str]) -> list[str]:
    """The shortest chain by which importing `module` of ours imports a heavy package; empty if it does not."""
    chains: dict[str, list[str]] = {module: []}
    waiting = [module]
    for current in waiting:
        for found in imports_of(sources[current], current):
            if not found.at_import:
                continue
            if _top(found.module) in HEAVY:
                return [*chains[current], str(found)]
            for name in {found.module, found.module.rpartition(".")[0]} & sources.keys() - chains.keys():
                chains[name] = [*chains[current], str(found)]
                waiting.append(name)
    return []


def test_imports_point_one_way() -> None:
    files = _files()
    assert len(files) > 20
    assert [fault for file, source in files.items() for fault in layer_faults(source, file)] == []


def test_package_markers_are_empty() -> None:
    markers = {file: source for file, source in _files().items() if file.endswith("__init__.py")}
    assert set(markers) >= {f"{package}/__init__.py" for package in MAY_IMPORT}
    assert [file for file, source in markers.items() if source.strip()] == []


def test_optional_packages_are_imported_late() -> None:
    assert [fault for file, source in _files().items() for fault in optional_faults(source, file)] == []


def test_light_modules_never_import_torch() -> None:
    sources = {_module(file): source for file, source in _files().items()}
    light = [name for name in sources if name.startswith(TORCH_FREE)]
    assert len(light) >= 9
    assert [chain for name in light if (chain := heavy_chain(name, sources))] == []


def test_the_command_starts_without_torch() -> None:
    """What the syntax trees promise, seen happening: neither torch nor anything that loads it."""
    code = "import sys, vlm.cli, vlm.config; sys.exit(', '.join(set(sys.argv[1:]) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY, "numpy"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {_name(text) for text in project["dependencies"]}
    extras = {_name(text) for texts in project["optional-dependencies"].values() for text in texts}
    faults = []
    for file, source in _files().items():
        for found in imports_of(source, file):
            top = _top(found.module)
            if top in sys.stdlib_module_names or top in OURS | IMPLIED | NEVER_REQUIRED:
                continue
            if DISTRIBUTIONS.get(top, top) not in (needed if found.at_import else needed | extras):
                faults.append(str(found))
    assert [fault for fault in faults if not any(home in fault for home in OPTIONAL_HOME)] == []


def _name(requirement: str) -> str:
    return requirement.partition(">")[0]


def test_the_pinned_versions_lie_in_the_declared_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    for text in project["dependencies"]:
        low, _, high = text.partition(">=")[2].partition(",<")
        pinned = _release(pins[_name(text).lower()])
        assert _release(low) <= pinned, text
        assert not high or pinned < _release(high), text


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("llm/x.py", "import vlm.config"),
        ("llm/x.py", "def f():\n    from data_tools.assets import fetch_assets"),
        ("vlm/x.py", "from demo import pages"),
        ("vlm/x.py", "def f():\n    import data_tools.assets"),
        ("vlm/cli.py", "import data_tools.assets"),
        ("demo/x.py", "from tests import conftest"),
        ("data_tools/x.py", "import demo.page"),
        ("data_tools/x.py", "from tests import conftest"),
    ],
)
def test_a_wrong_import_is_seen(file: str, source: str) -> None:
    assert len(layer_faults(source, file)) == 1


def test_a_late_import_in_the_command_is_allowed() -> None:
    assert layer_faults("def f():\n    import data_tools.assets", "vlm/cli.py") == []


def test_an_early_optional_import_is_seen() -> None:
    assert optional_faults("import timm", "vlm/x.py") == ["vlm/x.py:1 imports timm"]
    assert optional_faults("def f():\n    import timm", "vlm/x.py") == []
    assert optional_faults("from gradio import Blocks", "demo/x.py") == []


def test_a_hidden_heavy_import_is_seen() -> None:
    sources = {
        "llm.config": "from llm.inner import x",
        "llm.inner": "import llm.deep",
        "llm.deep": "from torch import nn",
    }
    assert heavy_chain("llm.config", sources) == [
        "llm.config:1 imports llm.inner.x",
        "llm.inner:1 imports llm.deep",
        "llm.deep:1 imports torch.nn",
    ]
    assert heavy_chain("llm.config", {**sources, "llm.deep": "def f():\n    import torch"}) == []
