"""Control characters in ids, files, refusals, answers and templates never reach the terminal."""

import ast
import json
import logging
import os
import pty
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llm.chat.sampling import Sampling
from llm.chat.terminal import Terminal
from llm.formats.conversation import ImageRef, Message
from tests.data_tools.ask.stub import Act, ReceivedRequest, listening
from vlm.app import cli

ROOT = Path(__file__).resolve().parent.parent
# Clears the screen, names the window, makes a link, fills the clipboard; goes back, beeps; turns the letters round.
EVIL = (
    "\x1b[2J\x1b]0;T\x07\x1b]8;;http:x\x1b\\\x1b]52;c;QQQQ\x07\x9b31m\r\x08\x0b\x0c\x7f\x85"
    "\u2028\u202e\u202d\u2066\u2069end"
)
HALF = "\ud800"  # no file of ours may hold it; a file's name may
Run = Callable[..., str]


def controls(text: str) -> list[str]:
    """Control characters in a text."""
    return [
        f"U+{ord(one):04X}"
        for one in text
        if (one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp"))
        or "\u202a" <= one <= "\u202e"
        or "\u2066" <= one <= "\u2069"
    ]  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `eyegraft` inside this process; returns the output of both streams."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["eyegraft", *map(str, arguments)])
        with suppress(SystemExit):
            cli.main()
        output = capsys.readouterr()
        return output.out + output.err

    return call


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A data file whose name, ids, texts and keys are hostile; the second row is no record."""
    path = tmp_path / f"rows{EVIL}.jsonl"
    messages = [{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL}]
    good = {"id": f"good{EVIL}", "messages": messages}
    bad = {"id": f"bad{EVIL}", "messages": [{"role": EVIL, "content": EVIL}]}
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    return path


def safe(output: str, shown: str = "end") -> None:
    """Assert that the hostile text is there, with its control characters escaped."""
    assert controls(output) == []
    assert shown in output and any(escape in output for escape in ("\\u001b", "\\x1b", "\u241b")), output


def test_control_characters_are_found() -> None:
    assert len(controls(EVIL + HALF)) == len(EVIL + HALF) - len("[2J]0;T]8;;http:x\\]52;c;QQQQ31mend")
    assert controls("多 é 🏴‍☠️ \u200f\tfine\n") == []


COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "no such recipe": lambda rows, folder: ["train", f"none{EVIL}.yaml"],
    "no such command": lambda rows, folder: [f"none{EVIL}"],
    "no such option": lambda rows, folder: ["ls", f"--none{EVIL}"],
    "check": lambda rows, folder: ["data", "check", rows],
    "show": lambda rows, folder: ["data", "show", good_of(rows)],
    "stats": lambda rows, folder: ["data", "stats", good_of(rows)],
    "stats of a bad row": lambda rows, folder: ["data", "stats", rows],
    "convert": lambda rows, folder: ["data", "convert", rows, folder / "o.json", "--to", "llava"],
    "split": lambda rows, folder: ["data", "split", rows, folder / f"parts{EVIL}", "--share", "0.5"],
    "mix": lambda rows, folder: ["data", "mix", rows, folder / f"o{EVIL}.jsonl"],
    "repeat": lambda rows, folder: ["data", "repeat", rows, 2, folder / f"o{EVIL}.jsonl"],
    "rename": lambda rows, folder: ["data", "rename", "end", "start", rows, folder / f"o{EVIL}.jsonl"],
    "fill": lambda rows, folder: ["data", "fill", rows, folder / f"o{EVIL}.jsonl", "--name", "N", "--author", "A"],
}


def good_of(rows: Path) -> Path:
    """A file with the first row only."""
    path = rows.with_name(f"good{rows.name}")
    path.write_text(rows.read_text().splitlines()[0] + "\n")
    return path


@pytest.mark.parametrize("case", COMMANDS)
def test_commands(run: Run, rows: Path, tmp_path: Path, case: str) -> None:
    safe(run(*COMMANDS[case](rows, tmp_path)))


def test_a_file_name_that_is_not_utf8(run: Run, tmp_path: Path) -> None:
    output = run("data", "check", tmp_path / os.fsdecode(b"caf\xe9.json"))
    assert controls(output) == [] and "caf\\udce9.json" in output


def test_json_stays_the_same_json(run: Run, rows: Path) -> None:
    output = run("data", "check", rows, "--json")
    assert controls(output) == []
    (finding, *_) = json.loads(output)["findings"]
    assert finding["id"] == f"bad{EVIL}", "programs read what the file holds"


def test_recipes(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / f"r{EVIL}.yaml"
    recipe.write_text("# end \x1b[2J\u202e\nname: small\nmodel: {llm: x}\ndata: {sources: [{path: a.json}]}\n")
    safe(run("show", recipe))
    escaped = json.dumps(EVIL)
    recipe.write_text(f"name: small\nmodel: {{llm: {escaped}}}\ndata: {{sources: [{{path: a.json}}]}}\n")
    output = run("validate", recipe)
    assert controls(output) == [] and "end" in output
    recipe.write_text(f"name: small\n{escaped}: 3\n")
    safe(run("validate", recipe))


def test_messages_of_a_server(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    (tmp_path / "q.json").write_text(json.dumps(["good", f"refused{EVIL}", "status"]))

    def script(asked: ReceivedRequest) -> Act:
        if asked.text == "status":
            return Act(f"status {EVIL}", status=400)
        return Act(f"answer {EVIL}", refusal=EVIL if asked.text != "good" else None)

    with listening(script) as stub:
        named = ("--model", "m", "--base-url", stub.url)
        output = run("data", "ask", tmp_path / "q.json", tmp_path / f"o{EVIL}.jsonl", *named)
    assert "2 failed" in output and "the model refused" in output and "400: status" in output
    safe(output)


class _ChatModel:
    sees_images = True

    def fit_to_context(self, messages: tuple[Message, ...], new_tokens: int) -> tuple[Message, ...]:
        return messages

    def stream(self, messages: tuple[Message, ...], sampling: Sampling) -> Iterator[str]:
        yield from EVIL  # a piece may be half of a sequence
        yield "\tfine\n多 é\U0001f642\r\n"

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        return EVIL


@pytest.mark.parametrize("stream", [True, False])
def test_answers_of_a_model(run: Run, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    typed = iter(["Hello", f"/image x{EVIL}.png", "EXIT"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))

    def check(image: ImageRef) -> None:
        pass

    terminal = Terminal(_ChatModel(), Sampling(), check, stream=stream)
    monkeypatch.setattr("vlm.app.chat.chat_terminal", lambda *_: terminal.talk())
    output = run("chat", "r")
    safe(output.replace("\r\n", "\n"))
    assert not stream or "\tfine\n多 é\U0001f642\r\n" in output


def test_logs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(*_: object) -> list[Any]:
        logger = logging.getLogger("somebody")
        logger.addHandler(handler := logging.StreamHandler())
        logger.warning("log %s", EVIL)
        logger.removeHandler(handler)
        sys.stderr.writelines([EVIL + HALF])
        return []

    monkeypatch.setattr("vlm.app.environment.describe", noisy)
    output = run("env")
    safe(output)
    assert "log \\u001b" in output and "\\ud800" in output


def test_a_warning_and_a_traceback() -> None:
    for error in "KeyError", "RuntimeError":
        code = f"""
import sys, warnings, vlm.app.cli, vlm.app.environment
def describe():
    warnings.warn("warning " + {EVIL!r})
    raise {error}({EVIL!r})
vlm.app.environment.describe = describe
sys.argv = ["eyegraft", "env"]
vlm.app.cli.main()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
        output = done.stderr.decode()
        assert done.returncode == 1 and "Traceback" in output and "warning \\u001b" in output
        assert output.count("end") >= 2 and controls(output) == []


ON_A_TERMINAL = f"""
import sys, json
from pathlib import Path
import vlm.app.cli, vlm.app.environment
from llm.train.metrics import RunLog
from data_tools.progress import ProgressBar
evil = json.loads({json.dumps(json.dumps(EVIL))})
folder = Path(sys.argv[1], "[red]" + evil)
folder.mkdir()
def describe():
    with RunLog(folder, 5, 0, 0) as log:
        log.write({{"kind": "probe", "step": 1, "answer": "row " + evil}})
        log.write({{"kind": "train", "step": 2, "note": evil}})
        log.advance(2)
        print("printed", evil)
        sys.stderr.write("stderr " + evil + chr(10))
    with ProgressBar("[/x][red]" + evil, 5, 0) as bar:
        bar.print("said " + evil)
        print("printed", evil, file=sys.stderr)
    return [("after", evil)]
vlm.app.environment.describe = describe
sys.argv = ["eyegraft", "env"]
vlm.app.cli.main()
"""


def test_bars_on_a_terminal(tmp_path: Path) -> None:
    """Only escape codes of rich reach the terminal, none of texts or of what is printed meanwhile."""
    output = on_a_terminal([sys.executable, "-c", ON_A_TERMINAL, str(tmp_path)])
    for shown in ("row", "note", "printed", "stderr", "said", "after"):
        assert f"{shown} \\u001b[2J" in output or (shown == "after" and "after" in output), output
    assert output.count("printed \\u001b[2J") == 2
    assert "\x1b[" in output and "2/5" in output and "\\u001b[3" not in output, "rich's own codes remain"
    for sequence in ("\x1b[2J", "\x1b]", "\x07", "\x08", "\x9b", "\x7f", "\x85", "\u202e", "\u2066"):
        assert sequence not in output, ascii(sequence)


def on_a_terminal(command: list[str]) -> str:
    """What a command writes when both streams are a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "2000", "LINES": "50"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT) as process:
        os.close(theirs)
        output = b""
        while block := _read(ours):
            output += block
    os.close(ours)
    assert process.returncode == 0, output.decode()
    return output.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux, after the other end was closed
        return b""


def test_all_output_is_escaped() -> None:
    """The only command escapes its output first; rich and the raw streams are used only by the modules that escape."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"eyegraft": "vlm.app.__main__:main"}, "which checks the installation and calls the following"
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for package in ("llm", "vlm", "data_tools", "demo")
        for path in (ROOT / package).rglob("*.py")
    }
    functions = [node for node in ast.parse(files["vlm/app/cli.py"]).body if isinstance(node, ast.FunctionDef)]
    (main,) = (node for node in functions if node.name == "main")
    assert ast.unparse(main.body[1]) == "escape_output()", "before anything is printed or a handler made"
    guarded = {"llm/rich_console.py", "llm/printable.py"}
    assert guarded < set(files)
    assert [fault for file, source in files.items() if file not in guarded for fault in past(source, file)] == []


RAW = {"sys.__stdout__", "sys.__stderr__", "sys.stdout.buffer", "sys.stderr.buffer"}
RICH = {"Console", "Progress", "Live", "Status", "track", "get_console"}


def past(source: str, file: str) -> list[str]:
    """Where a file uses what writes without escaping."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt | ast.expr)]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rich.")]
    makers = {name.asname or name.name for node in imports for name in node.names if name.name in RICH}
    return [f"{file}:{node.lineno}" for node in nodes if _is_past(node, makers)]


def _is_past(node: ast.stmt | ast.expr, makers: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "rich"
    if isinstance(node, ast.Import):
        return any(name.name.partition(".")[0] == "rich" for name in node.names)
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in RAW
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    return called in makers or (called == "os.write" and ast.unparse(node.args[0]) in ("1", "2"))


@pytest.mark.parametrize(
    "source",
    [
        "from rich.console import Console\ndef f():\n    Console()",
        "from rich import print",
        "from rich.progress import track as follow\nfollow([])",
        "import rich.live",
        "sys.stdout.buffer.write(b'')",
        "os.write(1, b'')",
    ],
)
def test_unescaped_output_is_found(source: str) -> None:
    assert len(past(source, "llm/x.py")) == 1
