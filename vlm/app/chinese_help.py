"""Help pages in Chinese: all of their text passes through here when a command writes it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from llm.i18n.translate import translated_error, width

if TYPE_CHECKING:
    from typer._click import HelpFormatter as Formatter
else:
    Formatter = typer.Context.formatter_class

SPACING = 2  # blanks between two columns
NARROWEST = 10  # columns of a text beside a list's names
NO_BREAK_BEFORE = "，。：；、！？）》”…"


class ChineseFormatter(Formatter):
    """Writes what it is given in Chinese, wrapped by the columns that characters take on a terminal."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line."""
        super().write_usage(prog, args, "用法：" if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{'':>{self.current_indent}}{help_text(heading)}：\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs; lines after a line that holds \\b alone are written as they are."""
        indent = " " * self.current_indent
        shown = []
        for paragraph in text.split("\n\n"):
            first, _, rest = paragraph.partition("\n")
            if first.strip() == "\b":
                shown.append("\n".join(indent + help_text(line) for line in rest.split("\n")))
            else:
                lines = wrapped(help_text(" ".join(paragraph.split())), self.width - self.current_indent)
                shown.append("\n".join(indent + line for line in lines))
        self.write("\n\n".join(shown) + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = SPACING) -> None:
        """Write a list of names with their texts."""
        name_width = min(max(width(name) for name, _ in rows), col_max) + col_spacing
        indent = " " * self.current_indent
        for name, text in rows:
            lines = [*wrapped(help_text(text), max(self.width - name_width - len(indent), NARROWEST))]
            beside = width(name) <= name_width - col_spacing and lines
            first = f"{name}{' ' * (name_width - width(name))}{lines.pop(0)}" if beside else name
            self.write("".join(f"{indent}{line}\n" for line in (first, *(" " * name_width + line for line in lines))))


def help_text(text: str) -> str:
    """A text of a help page in Chinese, with the extras in brackets that typer adds: `[default: 4; required]`."""
    if text.startswith("["):
        return _extras(text)
    said, gap, extras = text.partition("  [")
    return translated_error(said.removesuffix("."), "zh") + (gap and f"  {_extras('[' + extras)}")


def _extras(text: str) -> str:
    if not text.endswith("]"):
        return text
    return f"[{'；'.join(translated_error(part, 'zh') for part in text[1:-1].split('; '))}]"


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Lines of at most `columns` columns, broken at blanks and between Chinese characters, marks excepted."""
    line = ""
    for piece in _pieces(text):
        if line and width(line) + width(piece.rstrip()) > columns and piece not in NO_BREAK_BEFORE:
            yield line.rstrip()
            line = piece.lstrip()
        else:
            line += piece
    if line.strip():
        yield line.rstrip()


def _pieces(text: str) -> Iterator[str]:
    """Chinese characters one by one, other words with the blank after them."""
    word = ""
    for character in text:
        if width(character) == 2:
            if word:
                yield word
            yield character
            word = ""
        else:
            word += character
            if character == " ":
                yield word
                word = ""
    if word:
        yield word
