"""Text that the page shows as it is, whatever is in it."""

import html

from llm.printable import printable

MARKDOWN = frozenset("\\`*_{}[]()<>#+-.!|~$&:=")  # characters that Markdown, HTML or formulas may take for markup


def escaped(text: str) -> str:
    """Text that is markup neither in HTML nor in the templates that gradio makes of HTML: `${...}`, `{{...}}`."""
    plain = html.escape(printable(text))
    return "".join(f"&#{ord(char)};" if char in "${}`\\" else char for char in plain)


def escaped_markdown(text: str) -> str:
    """Text that is no markup in Markdown."""
    return "".join(f"&#{ord(char)};" if char in MARKDOWN else char for char in printable(text))
