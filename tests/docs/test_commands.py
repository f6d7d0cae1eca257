"""Every command of the README, the tutorials and the how-to pages runs, or has a mark with the reason why it does not.

Models and data are tiny; the test appends `train.max_steps` to training commands, keeps the first records of identity
data, and lets a service listen on a free port. It changes nothing else.
"""

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, Command, blocks_of, commands_of, in_chinese, pages
from tests.vlm.service.slurm_cluster import free_port
from vlm.app import cli

RUN = ("sh", "python")
SHOWN = ("yaml", "json", "text")
STEPS = 2
RECORDS = 24  # of identity data, of which pages make hundreds; jobs and measurements read all of them
PAGES = pages("tutorials/*.md", "how-to/**/*.md")
WITH_COMMANDS = [page for page in PAGES if any(block.language == "sh" and not block.why for block in blocks_of(page))]


SERVICE_PORT = ":8000"
WAIT_S = 120.0


@pytest.fixture
def serve(clone: Path) -> Iterator[Callable[[tuple[str, ...]], None]]:
    """Starts `eyegraft service` as a program beside the page's other commands, and stops it after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(words: tuple[str, ...]) -> None:
        started.append(subprocess.Popen([sys.executable, "-m", "vlm.app", *words], cwd=clone))
        until = time.monotonic() + WAIT_S
        while not (clone / "service/address").exists() or not _listens((clone / "service/address").read_text()):
            assert started[-1].poll() is None and time.monotonic() < until
            time.sleep(0.1)

    yield start
    for process in started:
        process.terminate()
        assert process.wait(WAIT_S) in (0, 143)


def _listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_run_in_order(
    page: Path,
    clone: Path,
    serve: Callable[[tuple[str, ...]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port, names = free_port(), dict[str, object]()
    for block in blocks_of(page):
        if block.language == "python" and not block.why:
            exec(compile(block.text.replace(SERVICE_PORT, f":{port}"), str(page), "exec"), names)
        for command in commands_of(block.text) if block.language == "sh" and not block.why else []:
            if command.words[:1] == ("service",):
                serve((*command.words, "--port", str(port)))
            else:
                run(command, clone, monkeypatch, capsys)


def run(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An eyegraft command in this process, since importing torch takes longer than running it; others in bash."""
    if not command.words:
        bash = ["bash", "-euo", "pipefail", "-c", command.shell]
        path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(bash, cwd=folder, capture_output=True, text=True, env=path)
        assert done.returncode == 0, f"{command.shell}\n{done.stderr}"
        return
    monkeypatch.setattr(sys, "argv", ["eyegraft", *short(command.words)])
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is this?\nEXIT\n"))
    capsys.readouterr()
    try:
        cli.main()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    printed = capsys.readouterr()
    assert code == 0 or command.may_fail, f"{command.shell}\n{printed.out}\n{printed.err}"
    if command.out:
        (folder / command.out).write_text(printed.out, encoding="utf-8")
    if command.words[:2] == ("data", "identity"):
        keep_first(folder / command.words[2])


def keep_first(written: Path) -> None:
    """Keep RECORDS of each file of a folder that `data identity` has written."""
    for file in written.glob("*.json"):
        found = json.loads(file.read_text("utf-8"))
        if isinstance(found, list):  # the others say how they were made
            file.write_text(json.dumps(found[:RECORDS]), "utf-8")


def short(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with fewer steps if it trains one recipe."""
    return (*words, f"train.max_steps={STEPS}") if words[0] == "train" and "--render" not in words else words


def test_every_block_has_a_language_and_those_that_are_not_run_have_a_reason() -> None:
    blocks = [(page, block) for page in PAGES for block in blocks_of(page)]
    assert len([block for _, block in blocks if block.language in RUN and not block.why]) > 40
    assert [(page.name, block.text) for page, block in blocks if block.language not in RUN + SHOWN] == []
    for page, block in blocks:
        assert not block.why or len(block.why) > 10, f"{page}: {block.why}"
    assert [page.name for page in PAGES if page.read_text(encoding="utf-8").count("not run:") != _marked(page)] == []


def _marked(page: Path) -> int:
    """Marks that are directly above a block, as they must be."""
    return len([block for block in blocks_of(page) if block.why])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_chinese_page_has_the_same_commands(page: Path) -> None:
    assert _commands(blocks_of(in_chinese(page))) == _commands(blocks_of(page))


def _commands(blocks: list[Block]) -> list[tuple[list[str], bool]]:
    """What is compared between languages: commands without comments, and whether they run."""
    shell = [block for block in blocks if block.language == "sh"]
    return [([_bare(command) for command in commands_of(block.text)], bool(block.why)) for block in shell]


def _bare(command: Command) -> str:
    return " ".join(command.words) or command.shell.partition("  #")[0].rstrip()


def test_commands_are_cut_as_a_shell_would() -> None:
    text = "# a note\na b \\\n  c\ncat > f <<'END'\nx \\\ny\nEND\n"
    text += "eyegraft train r k=v > out  # note\neyegraft d c || true\n"
    cut = commands_of(text)
    assert [command.shell for command in cut[:2]] == ["a b   c", "cat > f <<'END'\nx \\\ny\nEND"]
    assert cut[2] == Command("eyegraft train r k=v > out  # note", ("train", "r", "k=v"), "out")
    assert cut[3].words == ("d", "c") and cut[3].may_fail
