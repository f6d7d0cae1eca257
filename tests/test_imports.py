"""The import law of the project, held by walking the syntax trees (design, section 1)."""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The rooms, lowest first: a file imports from its own room and from those above it in this list. Rooms of one line
# stand side by side and do not import each other. A module directly inside a package is a room of its own.
ORDER = (
    ("llm.errors",),
    ("llm.i18n",),
    ("llm.devices",),
    ("llm.library_errors", "llm.printable", "llm.console", "llm.distributed", "llm.autograd", "llm.machine_constants"),
    ("llm.log", "llm.rich_console", "llm.plot_fonts"),
    ("llm.activity", "llm.hub_access"),
    ("llm.files",),
    ("llm.hubs",),
    ("llm.config",),
    ("llm.records", "llm.rows"),
    ("llm.formats",),
    ("llm.encoding",),
    ("llm.attention",),
    ("llm.data",),
    ("llm.model",),
    ("llm.lean",),
    ("llm.forward",),
    ("llm.decoding",),
    ("llm.chat",),
    ("llm.track",),
    ("llm.train",),
    ("llm.prefer",),
    ("llm.planning",),
    ("vlm.recipes", "vlm.ready_config"),
    ("vlm.config",),
    ("vlm.vision",),
    ("vlm.scores",),
    ("vlm.questions",),
    ("vlm.reports",),
    ("vlm.ready",),
    ("vlm.model",),
    ("vlm.evaluate", "vlm.export.gguf"),
    ("vlm.plan", "vlm.export"),
    ("vlm.run_folders",),
    ("vlm.service.store",),
    ("vlm.service.attempts", "vlm.service.webhooks"),
    ("vlm.service.engines", "vlm.service.exports", "vlm.service.downloads"),
    ("vlm.service",),
    ("data_tools.progress", "data_tools.rows"),
    ("data_tools.quickstart", "data_tools.check", "data_tools.ask"),
    ("data_tools.emoji",),
    ("data_tools.convert", "data_tools.edit", "data_tools.inspect"),
    ("data_tools.generate",),
    ("demo.visible_paths", "demo.open_models"),
    ("demo.model_library", "demo.probes"),
    ("demo.server",),
    ("demo.api",),
    ("demo.jobs.gate",),
    ("demo.jobs",),
    ("demo.pages.parts",),
    ("demo.pages",),
    ("demo.job_plan",),
    ("demo.job_pages.parts",),
    ("demo.job_pages.plan", "demo.job_pages.curves"),
    ("demo.job_pages.train",),
    ("demo.job_pages",),
    ("demo.web",),
    ("vlm.app",),
    ("vlm.api",),
)  # fmt: skip
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
PACKAGES = ("llm", "vlm", "data_tools", "demo")
MARKERS = {f"{package}/__init__.py" for package in PACKAGES}
OURS = {*PACKAGES, "tests", "benchmarks", "configs"}
MOST_FILES = 20
APP = "vlm.app"  # the one room that imports data_tools and demo, inside its commands

TORCH_FREE = (
    "llm.errors",
    "llm.config",
    "llm.formats.conversation",
    "llm.encoding.chat_template",
    "llm.data.packing",
    "llm.chat.sampling",
    "llm.track",
    "vlm.config",
    "vlm.ready_config",
    "vlm.recipes",
    "vlm.app.cli",
    "vlm.app.cli_data",
    "vlm.app.cli_serve",
    "vlm.api",
    "vlm.scores",
    "vlm.questions",
    "vlm.reports",
    "vlm.service",
    "demo.model_library",
    "demo.open_models",
    "demo.server",
    "demo.api",
    "demo.jobs.launch",  # the gate is a program of its own, which imports torch
    "demo.jobs.client",
    "demo.pages",
    "demo.job_pages",
    "demo.web",
)
HEAVY = {"torch", "transformers", "peft"}
OPTIONAL = {"deepspeed", "bitsandbytes", "flash_attn", "open_clip", "timm", "torchvision", "gguf", "xllamacpp",
            "datasets", "openpyxl", "pillow_heif", "gradio", "fastapi", "uvicorn", "openai", "httpx2", "tensorboard",
            "wandb", "swanlab", "mlflow", "trackio", "resvg_py", "av"}  # fmt: skip
OPTIONAL_HOME = {
    "demo": {"gradio", "fastapi", "uvicorn", "httpx2"},
    "vlm/export/gguf": {"gguf", "xllamacpp"},
}  # the packages that exist for them

DISTRIBUTIONS = {
    "PIL": "pillow",
    "resvg_py": "resvg-py",
    "pillow_heif": "pillow-heif",
    "yaml": "PyYAML",
    "jinja2": "Jinja2",
    "open_clip": "open_clip_torch",
    "google": "protobuf",
}
# Hard dependencies of our dependencies whose types we name, and packages found, never required.
IMPLIED = {"pydantic_core", "tokenizers", "huggingface_hub", "_typeshed"}
NEVER_REQUIRED = {"flash_attn", "ray"}


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


def room_of(module: str) -> str:
    """The room of ORDER that a module, or a name in one, lies in; empty if in none."""
    while module and module not in RANK:
        module = module.rpartition(".")[0]
    return module


def order_faults(source: str, file: str) -> list[str]:
    """Imports of `file` (such as llm/train/loop.py) that point against the order of rooms."""
    room = room_of(_module(file))
    if file in MARKERS:
        return []  # a package's own line; that it holds nothing else has a test of its own
    if not room:
        return [f"{file}: lies in no room of ORDER; add its room there or move it"]
    return [str(found) for found in imports_of(source, file) if not _may_import(room, found)]


def _may_import(room: str, found: Import) -> bool:
    if _top(found.module) not in OURS:
        return True
    target = room_of(found.module)
    earlier = target == room or (target != "" and RANK[target] < RANK[room])
    return earlier and (room != APP or not found.at_import or _top(target) in ("llm", "vlm"))


def optional_faults(source: str, file: str) -> list[str]:
    """Optional packages imported by `file` outside a function."""
    homes = {name for home, names in OPTIONAL_HOME.items() if file.startswith(f"{home}/") for name in names}
    return [
        str(found) for found in imports_of(source, file) if found.at_import and _top(found.module) in OPTIONAL - homes
    ]


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _files() -> dict[str, str]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
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
    assert [fault for file, source in files.items() for fault in order_faults(source, file)] == []


def test_each_room_has_one_line_that_says_what_it_is_and_nothing_else_in_its_marker() -> None:
    markers = {file: source for file, source in _files().items() if file.endswith("__init__.py")}
    assert set(markers) >= {f"{package}/__init__.py" for package in PACKAGES}
    for file, source in markers.items():
        tree = ast.parse(source)
        line = ast.get_docstring(tree)
        assert line and len(tree.body) == 1 and "\n" not in line and line.endswith("."), file


def test_no_folder_holds_more_than_twenty_files() -> None:
    """Twenty is what a reader takes in at a glance; a larger folder holds two rooms."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    held = Counter(Path(file).parent.as_posix() for file in listed if file and (ROOT / file).exists())
    assert sum(held.values()) > 400
    assert {folder: count for folder, count in held.items() if count > MOST_FILES} == {}


def test_optional_packages_are_imported_late() -> None:
    assert [fault for file, source in _files().items() for fault in optional_faults(source, file)] == []


def test_light_modules_never_import_torch() -> None:
    sources = {_module(file): source for file, source in _files().items()}
    light = {found: [name for name in sources if f"{name}.".startswith(f"{found}.")] for found in TORCH_FREE}
    assert [found for found, names in light.items() if not names] == [], "no such module"
    modules = [name for names in light.values() for name in names]
    assert [chain for name in modules if (chain := heavy_chain(name, sources))] == []


def test_the_command_starts_without_torch() -> None:
    """What the syntax trees promise, seen happening: neither torch nor anything that loads it."""
    code = "import sys, vlm.app.cli, vlm.config; sys.exit(', '.join(set(sys.argv[1:]) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY, "numpy"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "fewest"), [("vlm/app/cli.py", 10), ("vlm/app/cli_data.py", 10), ("vlm/app/cli_serve.py", 5)]
)
def test_a_command_that_imports_torch_says_so(file: str, fewest: int) -> None:
    """Importing takes 5 seconds and more, in which nothing else would be shown."""
    sources = {_module(name): source for name, source in _files().items()}
    commands = [node for node in ast.parse(_files()[file]).body if isinstance(node, ast.FunctionDef)]
    nodes = [node for command in commands for node in ast.walk(command)]
    said = [node for node in nodes if isinstance(node, ast.With) and ast.unparse(node.items[0]) == "importing()"]
    shown = {id(inner) for node in said for inner in ast.walk(node)}
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module in sources]
    assert len(imports) >= fewest
    silent = [node.module for node in imports if id(node) not in shown]
    assert [chain for module in silent if module and (chain := heavy_chain(module, sources))] == []


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
        ("llm/train/x.py", "import vlm.config"),
        ("llm/train/x.py", "def f():\n    from data_tools.quickstart.assets import fetch_assets"),
        ("llm/train/x.py", "from llm.planning.step_forecast import Forecast"),
        ("llm/forward/x.py", "from llm.chat import chat_model"),
        ("llm/chat/x.py", "from llm.train import loop"),
        ("llm/formats/x.py", "def f():\n    from llm.encoding import encoder"),
        ("llm/formats/x.py", "from llm.nowhere import x"),
        ("llm/nowhere.py", "import os"),
        ("vlm/vision/x.py", "from vlm.model.batch import VlmBatch"),
        ("vlm/plan/x.py", "from demo import pages"),
        ("vlm/export/x.py", "def f():\n    import data_tools.quickstart.assets"),
        ("vlm/export/x.py", "from vlm.app.cli import main"),
        ("vlm/app/cli.py", "import data_tools.quickstart.assets"),
        ("vlm/app/cli.py", "from vlm import api"),
        ("vlm/app/cli.py", "def f():\n    from tests import conftest"),
        ("demo/server/x.py", "from tests import conftest"),
        ("demo/server/x.py", "from vlm.app.chat import chat_terminal"),
        ("data_tools/check/x.py", "import demo.pages.page"),
        ("data_tools/check/x.py", "from tests import conftest"),
    ],
)
def test_a_wrong_import_is_seen(file: str, source: str) -> None:
    assert len(order_faults(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("llm/train/x.py", "from llm.config.schema import RunConfig\nfrom llm.train.loop import train\nimport torch"),
        ("vlm/export/x.py", "from vlm.export.gguf import file"),
        ("demo/pages/x.py", "from demo.pages.parts import curves"),
    ],
)
def test_a_right_import_is_allowed(file: str, source: str) -> None:
    assert order_faults(source, file) == []


def test_a_late_import_in_the_command_is_allowed() -> None:
    assert order_faults("def f():\n    import data_tools.quickstart.assets", "vlm/app/cli.py") == []


def test_an_early_optional_import_is_seen() -> None:
    assert optional_faults("import timm", "vlm/x.py") == ["vlm/x.py:1 imports timm"]
    assert optional_faults("def f():\n    import timm", "vlm/x.py") == []
    assert optional_faults("from gradio import Blocks", "demo/x.py") == []


def test_a_hidden_heavy_import_is_seen() -> None:
    sources = {
        "llm.config.schema": "from llm.inner import x",
        "llm.inner": "import llm.deep",
        "llm.deep": "from torch import nn",
    }
    assert heavy_chain("llm.config.schema", sources) == [
        "llm.config.schema:1 imports llm.inner.x",
        "llm.inner:1 imports llm.deep",
        "llm.deep:1 imports torch.nn",
    ]
    assert heavy_chain("llm.config.schema", {**sources, "llm.deep": "def f():\n    import torch"}) == []
