"""Fenced code blocks of a page, and how a block of shell commands is cut into commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
HEREDOC = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `why` is the reason for not running it, empty if it runs."""

    language: str
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `words` of an eyegraft command and the file its output goes to, or `shell` for bash."""

    shell: str
    words: tuple[str, ...] = ()
    out: str = ""
    may_fail: bool = False


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found["language"], found["text"], found["why"] or "") for found in FENCE.finditer(text)]


def pages(*globs: str) -> list[Path]:
    """Pages in English: README.md and what the patterns find under docs/."""
    found = [path for pattern in globs for path in sorted((ROOT / "docs").glob(pattern))]
    return [ROOT / "README.md", *(path for path in found if not path.name.endswith(".zh.md"))]


def in_chinese(page: Path) -> Path:
    """The page's Chinese counterpart."""
    return page.with_name("README.zh-CN.md") if page.name == "README.md" else page.with_suffix(".zh.md")


def commands_of(text: str) -> list[Command]:
    """The commands of a block: continued lines are joined, a here-document belongs to its command."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines)
        if mark := HEREDOC.search(line):
            line += "\n" + "\n".join(iter(lambda: next(lines), mark[1])) + f"\n{mark[1]}"
        found.append(_command(line))
    return found


def _command(line: str) -> Command:
    may_fail = line.endswith(" || true")
    ours = line.startswith("eyegraft ") and "$(" not in line
    words = shlex.split(line.removesuffix(" || true"), comments=True) if ours else []
    out = words[words.index(">") + 1] if ">" in words else ""
    return Command(line, tuple(words[1 : words.index(">") if out else None]), out, may_fail)
