"""A table as HTML that is legible at any width: on a narrow screen each row becomes a block with the heads as labels.

gradio's own table gives every column a share of the width: at 390 pixels one letter a line.
"""

from collections.abc import Sequence

from demo.pages.parts.escaping import escaped

CSS = """
.eg-table { width: 100%; table-layout: fixed; border-collapse: collapse; font-size: 0.92em; }
.eg-table :is(th, td) { padding: 8px 10px; text-align: start; vertical-align: top; overflow-wrap: anywhere;
  white-space: pre-line; border: 0; border-bottom: 1px solid var(--border-color-primary); }
.eg-table th { font-weight: 600; color: var(--body-text-color); }
@media (max-width: 1000px) {
  .eg-table thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  .eg-table, .eg-table :is(tbody, tr, td) { display: block; width: auto; }
  .eg-table colgroup { display: none; }
  .eg-table tr { border: 1px solid var(--border-color-primary); border-radius: 8px; margin: 0 0 10px; padding: 6px 0; }
  .eg-table td { border: 0; padding: 3px 12px; }
  .eg-table td:empty { display: none; }
  .eg-table td::before { content: attr(data-head) " "; font-weight: 600; display: inline-block; min-width: 5.5em;
    margin-inline-end: 0.5em; }
}
"""


def html_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], widths: Sequence[int]) -> str:
    """The table, its texts escaped; empty without rows. `widths` of the columns are percentages, for wide screens."""
    if not rows:
        return ""
    columns = "".join(f'<col style="width: {width}%">' for width in widths)
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in heads)
    body = "".join(_row(row, heads) for row in rows)
    parts = f"<colgroup>{columns}</colgroup><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<table class="eg-table" aria-label="{escaped(caption)}">{parts}</table>'


def _row(row: Sequence[object], heads: Sequence[str]) -> str:
    cells = zip(heads, map(str, row), strict=True)
    return f"<tr>{''.join(_cell(head, value) for head, value in cells)}</tr>"


def _cell(head: str, value: str) -> str:
    return f'<td data-head="{escaped(head)}">{escaped(value)}</td>'
