"""HTML that is safe by construction: a plain string is text, and only what `tag` made is markup."""

from collections.abc import Iterable

from demo.pages.parts.escaping import escaped

VOID = frozenset({"br", "col", "img", "input", "link", "meta", "path", "polyline", "circle"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *inner: str | None, **attributes: str | int | float | bool | None) -> Markup:
    """An element. Inner strings that are no Markup are escaped, None is left out.

    Attributes: `class_` is `class`, `data_id` is `data-id`; True is an attribute without a value, False and None are
    left out.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(inner)}</{name}>")


def joined(parts: Iterable[str | None]) -> Markup:
    """The parts one after another, texts escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts if part is not None))


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'
