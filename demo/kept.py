"""The chat as the visitor's own browser keeps it, so that a reload loses nothing."""

from typing import Any

from demo.limits import Limits
from demo.said import Turn, uploaded
from llm.errors import ImageError

PARTS = 32  # of a turn


def restore(kept: Any, limits: Limits) -> list[Turn]:
    """The chat again, as a Chatbot takes it. The browser may send anything: what is no text and no picture that was
    uploaded here and is still there is left out."""
    turns: list[Turn] = []
    for turn in kept[-2 * limits.messages :] if isinstance(kept, list) else ():
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            continue
        parts = turn.get("content")
        parts = parts[:PARTS] if isinstance(parts, list) else [parts]
        content = [part for part in map(_sound, parts) if part]
        turns += [{"role": turn["role"], "content": content}] if content else []
    said = sum(len(part) for turn in turns for part in turn["content"] if isinstance(part, str))
    return turns if said <= limits.text else []


def _sound(part: Any) -> str | dict[str, str] | None:
    """A text, or a picture that is still there; nothing else."""
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, dict) and isinstance(part.get("file"), dict) and isinstance(part["file"].get("path"), str):
        return _picture(part["file"]["path"])
    return part if isinstance(part, str) else None


def _picture(path: str) -> dict[str, str] | None:
    try:
        return {"path": str(uploaded(path))}
    except ImageError:
        return None
