"""The format of Gemini's API and of Vertex AI's tuning files: contents of parts."""

from llm.formats.chat_turns import with_system
from llm.formats.conversation import Message, MessagePart, Role
from llm.formats.image_placeholders import image_ref
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant"}
_INLINE = ("inlineData", "inline_data")
_SYSTEM = ("systemInstruction", "system_instruction")
_MIME = ("mimeType", "mime_type")


def read_gemini(record: Record) -> tuple[Message, ...]:
    """`{"systemInstruction"?, "contents": [{"role", "parts": [{"text"} or {"inlineData"}, ...]}, ...]}`.

    Texts of a turn are joined. RecordError for parts of other kinds: function calls, audio, files by address.
    """
    messages = tuple(_turn(turn) for turn in record.parts("contents"))
    key = next((key for key in _SYSTEM if not is_blank(record.row.get(key))), "")
    if not key:
        return with_system(record, messages)
    instruction = record.part(key, record.take(key))
    instruction.repeats("role")
    return (Message("system", _parts(instruction)), *with_system(record, messages))


def fits_gemini(row: Row) -> bool:
    """Whether the row has a list of contents with parts."""
    turns = row.get("contents")
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and isinstance(first.get("parts"), list)


def _turn(turn: Record) -> Message:
    role = turn.optional("role") or "user"  # the API takes a turn without a role for the user's
    if role not in _ROLES:
        raise turn.error("role", f"{role!r} is not a role", "Known are user and model", "role-unknown")
    return Message(_ROLES[role], _parts(turn))


def _parts(turn: Record) -> tuple[MessagePart, ...]:
    joined: list[MessagePart] = []
    for part in map(_part, turn.parts("parts")):
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _part(part: Record) -> MessagePart:
    key = next((key for key in _INLINE if key in part.row), "")
    if not key:
        if "text" in part.row and not part.flag("thought", False):
            return part.text("text")
        found = f"a part of {', '.join(part.row) or 'no keys'}"
        raise part.error("parts", found, "Parts are text, or an image as inlineData", "part-type")
    image = part.part(key, part.take(key))
    mime = next((image.optional(name) for name in _MIME if name in image.row), "")
    if mime and not mime.startswith("image/"):
        raise image.error("mimeType", f"{mime} is no image", "Parts are text, or an image as inlineData", "part-type")
    return image_ref(image, "data", f"data:image/any;base64,{image.text('data')}")
