"""What a line typed into `eyegraft chat` asks for: a question, images, videos, or a command such as /reset."""

import difflib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from llm.files.regular_files import exists

Action = Literal["question", "image", "video", "reset", "help", "exit", "refused"]

COMMANDS: dict[str, Action] = {
    **dict.fromkeys(("image", "images", "img", "pic"), "image"),
    **dict.fromkeys(("video", "videos", "clip"), "video"),
    **dict.fromkeys(("reset", "new", "clear", "forget"), "reset"),
    **dict.fromkeys(("help", "h", "?"), "help"),
    **dict.fromkeys(("exit", "quit", "q", "bye"), "exit"),
}
WORDS: dict[str, Action] = {  # lines without a slash that are no questions; upper and lower case are equal
    **dict.fromkeys(("exit", "quit", "exit()", "quit()", ":q", "退出"), "exit"),
    **dict.fromkeys(("reset", "clear", "重置", "清空"), "reset"),
    **dict.fromkeys(("help", "?", "帮助"), "help"),
}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".mpg", ".mpeg")
_COMMAND = re.compile(r"/([\w?-]+)(?:\s+(.*))?|/", re.DOTALL)
# The first word as a terminal writes a dropped file: in quotes, or with backslashes before blanks.
_WORD = re.compile(r"""('[^']*'|"[^"]*"|(?:\\.|[^\s\\])+)\s*(.*)""", re.DOTALL)
_PATH = re.compile(r"""['"]?(/|~|\.{1,2}/|file:|[A-Za-z]:[\\/])""", re.IGNORECASE)
_DRIVE = re.compile(r"([A-Za-z]):/")


@dataclass(frozen=True, slots=True)
class Typed:
    """What a line asks for. `text`: the question, or why it was refused; `images`, `videos`: files named in it."""

    action: Action
    text: str = ""
    images: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()


def read_typed(line: str) -> Typed:
    """What the line asks for. `//` begins a question with a slash; a file dropped on the terminal is shown."""
    line = line.strip()
    if line.lower() in WORDS:
        return Typed(WORDS[line.lower()])
    if line.startswith("//"):
        return Typed("question", line[1:])
    if line.startswith("／"):  # as a Chinese keyboard writes it
        line = "/" + line[1:]
    if dropped := _dropped_files(line):
        return dropped
    command = _COMMAND.fullmatch(line)
    return _command(command[1] or "", (command[2] or "").strip()) if command else Typed("question", line)


def _command(name: str, rest: str) -> Typed:
    action = COMMANDS.get(name.lower())
    if action is None:
        near = difflib.get_close_matches(name.lower(), list(COMMANDS), n=1)
        hint = f"did you mean /{near[0]}? " if near else ""
        return Typed(
            "refused", f"/{name}: no such command; {hint}/help lists them. A question that begins with / is written //"
        )
    if action in ("image", "video"):
        if not rest:
            return Typed("refused", f"/{action}: name a file, /{action} FILE")
        paths = typed_paths(rest)
        return Typed(action, images=paths) if action == "image" else Typed(action, videos=paths)
    if rest:
        return Typed("refused", f"/{name}: takes nothing, found {rest!r}. Type /{name} alone, then the rest")
    return Typed(action)


def _dropped_files(line: str) -> Typed | None:
    """The images and videos that a line begins with, and the question after them; None for other lines."""
    if _PATH.match(line) and exists(Path(path := local_path(line))) and _media(path):
        return _shown([path], "")
    paths: list[str] = []
    while _PATH.match(line) and (word := _WORD.fullmatch(line)):
        if not _media(path := local_path(word[1])):
            break
        paths.append(path)
        line = word[2]
    return _shown(paths, line) if paths else None


def _media(path: str) -> bool:
    return path.lower().endswith((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))


def _shown(paths: list[str], text: str) -> Typed:
    videos = tuple(path for path in paths if path.lower().endswith(VIDEO_SUFFIXES))
    return Typed("image", text, tuple(path for path in paths if path not in videos), videos)


def typed_paths(text: str) -> tuple[str, ...]:
    """The files that the text names: one whose name may hold blanks, or several, quoted or escaped as in a shell."""
    whole = local_path(text)
    if exists(Path(whole)):
        return (whole,)
    words: list[str] = []
    rest = text
    while word := _WORD.fullmatch(rest):
        words.append(local_path(word[1]))
        rest = word[2]
    # Not one of the words is a file: more likely a name with blanks that was mistyped than several files.
    return tuple(words) if len(words) > 1 and any(exists(Path(word)) for word in words) else (whole,)


def local_path(text: str) -> str:
    """The file of this machine that a typed or dropped name means: the first reading that exists, else the likeliest.

    Names come in quotes, with escaped blanks, with `~`, as file:// addresses, from Windows, and with accents in one or
    two characters.
    """
    readings = list(_readings(text))
    return next((reading for reading in readings if exists(Path(reading))), readings[-1])


def _readings(text: str) -> Iterator[str]:
    """Readings of the name, the least changed first; the last is the likeliest where no file exists."""
    text = text.strip()
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    yield from (text, bare)
    forward = bare.replace("\\", "/")
    yield from (forward, _DRIVE.sub(lambda drive: f"/mnt/{drive[1].lower()}/", forward))
    yield from (unicodedata.normalize("NFC", bare), unicodedata.normalize("NFD", bare))
    if bare.lower().startswith("file:"):
        yield _path_of(bare)
        return
    yield unquote(bare)
    windows = re.match(r"[A-Za-z]:\\", bare)  # its backslashes are no escapes
    yield os.path.expanduser(bare if windows or text != bare else re.sub(r"\\(.)", r"\1", bare))


def _path_of(address: str) -> str:
    """The path of a file:// address; that of Windows without the slash before the drive."""
    try:
        path = unquote(urlsplit(address).path)
    except ValueError:
        return address
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path
