"""The chat as the visitor's own browser keeps it, so that a reload loses nothing."""

from typing import Any

from demo.pages.parts.chat_messages import ChatTurn
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.errors import ImageError


def restore(kept: Any, limits: Limits) -> list[ChatTurn]:
    """The chat again, as a Chatbot takes it; see `sound_turns`."""
    return [
        {"role": turn["role"], "content": [part.get("file") or part["text"] for part in turn["content"]]}
        for turn in valid_turns(kept, limits)
    ]


def valid_turns(kept: Any, limits: Limits) -> list[ChatTurn]:
    """What can be shown of a kept chat, each part {"text": ...} or {"file": {"path": ...}}.

    The browser may send anything: what is no text and no picture that was uploaded here and is still there is left
    out, since an earlier server's uploads are gone with it.
    """
    turns: list[ChatTurn] = []
    files = 0
    for turn in kept[-2 * limits.messages :] if isinstance(kept, list) else ():
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            continue
        parts = turn.get("content")
        parts = parts[: limits.parts] if isinstance(parts, list) else [parts]
        files += sum(isinstance(part, dict) and "file" in part for part in parts)
        if files > limits.messages:  # more than any chat that was answered; looking for each takes time
            return []
        content = [part for part in map(_sound, parts) if part]
        turns += [{"role": turn["role"], "content": content}] if content else []
    said = sum(len(part["text"]) for turn in turns for part in turn["content"] if "text" in part)
    return turns if said <= limits.text else []


def _sound(part: Any) -> dict[str, Any] | None:
    """A text, or a picture that is still there; nothing else."""
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    if isinstance(part, dict) and isinstance(part.get("file"), dict) and isinstance(part["file"].get("path"), str):
        return _picture(part["file"]["path"])
    return None


def _picture(path: str) -> dict[str, Any] | None:
    try:
        return {"file": {"path": str(uploaded_file(path))}}
    except ImageError:
        return None
