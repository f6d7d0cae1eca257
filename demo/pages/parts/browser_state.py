"""The chat stored in the visitor's browser, so that it survives a reload."""

from demo.pages.parts.chat_messages import REFUSED, ChatTurn, is_refusal
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.errors import ImageError


def restore(stored: object, limits: Limits) -> list[ChatTurn]:
    """The value of the Chatbot for a stored chat; see `valid_turns`."""
    return [
        turn | {"content": [part.get("file") or part["text"] for part in turn["content"]]}
        for turn in valid_turns(stored, limits)
    ]


def valid_turns(stored: object, limits: Limits) -> list[ChatTurn]:
    """The valid turns of a stored chat, each part as {"text": ...} or {"file": {"path": ...}}.

    The browser may send anything. What is neither a text nor an existing upload is dropped, such as the images
    uploaded to an earlier server. A chat that exceeds the limits is dropped completely.
    """
    turns: list[ChatTurn] = []
    files = 0
    for turn in stored[-2 * limits.messages :] if isinstance(stored, list) else ():
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            continue
        parts = turn.get("content")
        parts = parts[: limits.parts] if isinstance(parts, list) else [parts]
        files += sum(isinstance(part, dict) and "file" in part for part in parts)
        if files > limits.messages:  # more than an answered chat can have; looking each file up takes time
            return []
        content = [part for part in map(_valid_part, parts) if part]
        mark = {"metadata": dict(REFUSED)} if is_refusal(turn) else {}
        turns += [{"role": turn["role"], "content": content, **mark}] if content else []
    characters = sum(len(part["text"]) for turn in turns for part in turn["content"] if "text" in part)
    return turns if characters <= limits.text else []


def _valid_part(part: object) -> ChatTurn | None:
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    if isinstance(part, dict) and isinstance(part.get("file"), dict) and isinstance(part["file"].get("path"), str):
        return _upload(part["file"]["path"])
    return None


def _upload(path: str) -> dict[str, object] | None:
    try:
        return {"file": {"path": str(uploaded_file(path))}}
    except ImageError:
        return None
