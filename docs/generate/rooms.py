"""The map of rooms: each folder's one-line docstring, as a table.

`python -m docs.generate.rooms` writes it into CONTRIBUTING.md between its marks.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("llm", "vlm", "data_tools", "demo")
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"


def rooms(root: Path = ROOT) -> list[tuple[str, str]]:
    """Every folder of the packages with the first line of its docstring; packages in order, their rooms by name."""
    found = []
    for package in PACKAGES:
        for file in sorted((root / package).rglob("__init__.py")):
            text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            found.append((f"{file.parent.relative_to(root)}/", text.partition("\n")[0]))
    return found


def table(root: Path = ROOT) -> str:
    """The rooms as a Markdown table."""
    lines = ["| room | what is in it |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{folder}` | {text} |" for folder, text in rooms(root))])


def with_table(page: str, text: str) -> str:
    """`page` with `text` between its marks; ValueError where a mark is missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} followed by {END}; put both where the map belongs")
    return f"{head}{BEGIN}\n{text}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
