"""What the API does with keys of other servers' requests: one rule, and tables of what is known about each key.

A key that asks for nothing is accepted: null, false, 0, an empty text, list or object, or a default value that `Wish`
names. A key of `no_effect` never changes the answer, and one of `parts_of` not without the key that it is a part of;
both are accepted, and the response's header `eyegraft-no-effect` names them. OTHER_NAMES are those of other servers for
keys that are offered. Any other key asks for what the server does not offer and is refused by name.
docs/how-to/serve.md has the tables.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import PydanticCustomError

_NUMBER = re.compile(r"-?\d{1,18}(\.\d{0,18})?")
LONGEST_VALUE = 40  # characters of a value in a message
NEAR = 0.8  # similarity of two names from which on one is proposed for the other


@dataclass(frozen=True, slots=True)
class Wish:
    """A known key that is not offered: what to do instead, and the values, besides empty ones, that ask for nothing.

    With `strict`, an empty value asks for something too.
    """

    advice: str
    neutral: tuple[JsonValue, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The keys of one part of a request that are not fields of ours."""

    wishes: Mapping[str, Wish]
    no_effect: frozenset[str]
    parts_of: Mapping[str, str] = field(default_factory=dict)  # key -> the key without which it does nothing


_TOOLS = "Switch tools (functions, plugins, web search, agent mode) off in the chat program"
_PENALTY = "Set it to 0; repetition_penalty is offered"
_DRAWN = "temperature, top_p and top_k are offered"
_THINKING = "Switch thinking off in the chat program: what a model thinks aloud is part of its answer"
_CALL = "The server calls no tools. Start a new chat without them"
_CONTENT = "Send images as content parts of type image_url, everything else as text"
_SCHEMA = "Describe the form in the question and check the answer yourself"
_RESPONSES = "It belongs to the Responses API. Send messages to /v1/chat/completions"
_ONE_MODEL = "The model that `model` names answers"

# Names of other servers (llama.cpp, Ollama, Transformers, Mistral, the Responses API) for keys that are offered.
OTHER_NAMES = {
    "repeat_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "random_seed": "seed",
    "stop_sequences": "stop",
}

CHAT_KEYS = KnownKeys(
    {
        "tools": Wish(_TOOLS),
        "tool_choice": Wish(_TOOLS, ("none", "auto", {"type": "none"}, {"type": "auto"})),
        "functions": Wish(_TOOLS),
        "function_call": Wish(_TOOLS, ("none", "auto")),
        "web_search_options": Wish(_TOOLS, strict=True),
        "response_format": Wish(_SCHEMA, ({"type": "text"}, "text")),
        "prompt": Wish("Send it to /v1/completions, or as a message of the user"),
        "n": Wish("Send the request again for another answer", (1,), strict=True),
        "frequency_penalty": Wish(_PENALTY),
        "presence_penalty": Wish(_PENALTY),
        "logit_bias": Wish(_DRAWN),
        "min_p": Wish(_DRAWN),
        "top_a": Wish(_DRAWN),
        "typical_p": Wish(_DRAWN, (1,)),
        "repeat_last_n": Wish("Set it to -1: the penalty counts all tokens", (-1,)),
        "min_tokens": Wish("An answer ends where the model ends it"),
        "ignore_eos": Wish("An answer ends where the model ends it"),
        "length_penalty": Wish(_DRAWN, (1,)),
        "best_of": Wish("Send the request again for another answer", (1,)),
        "modalities": Wish("Answers are text", (["text"],)),
        "audio": Wish("Answers are text"),
        "moderation": Wish("Neither questions nor answers are moderated"),
        "reasoning_effort": Wish(_THINKING, ("none", "minimal", "medium", "default", "auto")),
        "reasoning": Wish(
            _THINKING, ({"effort": "none"}, {"effort": "minimal"}, {"effort": "medium"}, {"exclude": True})
        ),
        "thinking": Wish(_THINKING, ({"type": "disabled"},)),
        "enable_thinking": Wish(_THINKING),
        "think": Wish(_THINKING),
        "thinking_budget": Wish(_THINKING),
        "chat_template_kwargs": Wish("The model's chat template is used as it is trained"),
        "verbosity": Wish("Say in the question how long the answer should be", ("medium",)),
        "add_generation_prompt": Wish("The chat template is always completed by it", (True,), strict=True),
        "continue_final_message": Wish("Send a question after the answer"),
        "skip_special_tokens": Wish("An answer is text without special tokens", (True,), strict=True),
        "do_sample": Wish("A temperature above 0 draws, 0 takes the likeliest token"),
        "max_length": Wish("max_tokens bounds the answer"),
        "mirostat": Wish(_DRAWN),
        "tfs_z": Wish(_DRAWN, (1,)),
        "dynatemp_range": Wish(_DRAWN),
        "smoothing_factor": Wish(_DRAWN),
        "dry_multiplier": Wish(_DRAWN),
        "xtc_probability": Wish(_DRAWN),
        "samplers": Wish(_DRAWN),
        "use_beam_search": Wish(_DRAWN),
        "num_beams": Wish(_DRAWN, (1,)),
        "grammar": Wish(_SCHEMA),
        "json_schema": Wish(_SCHEMA),
        "guided_json": Wish(_SCHEMA),
        "guided_regex": Wish(_SCHEMA),
        "guided_choice": Wish(_SCHEMA),
        "guided_grammar": Wish(_SCHEMA),
        "format": Wish(_SCHEMA),
        "enable_search": Wish(_TOOLS),
        "plugins": Wish(_TOOLS),
        "options": Wish("Send its members as keys of the request"),
        "extra_body": Wish("Send its members as keys of the request"),
        "instructions": Wish(_RESPONSES),
        "input": Wish(_RESPONSES),
        "include": Wish(_RESPONSES),
        "background": Wish(_RESPONSES),
        "text": Wish(_RESPONSES, ({"format": {"type": "text"}}, {"verbosity": "medium"})),
        "previous_response_id": Wish("Send the complete conversation"),
        "truncation": Wish("Start a new chat when the conversation has become too long", ("disabled",)),
        "models": Wish(_ONE_MODEL),
    },
    frozenset(
        {
            "user",
            "metadata",
            "store",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "parallel_tool_calls",
            "prediction",
            "include_reasoning",
            "prompt_cache_options",
            "cache_prompt",
            "keep_alive",
            "slot_id",
            "id_slot",
            "timings_per_token",
            "return_progress",
            "incremental_output",
            "timeout",
            "request_timeout",
            # how a server of these loads its model
            "num_ctx",
            "ctx_len",
            "num_batch",
            "num_gpu",
            "num_keep",
            "num_thread",
            "use_mlock",
            "use_mmap",
            # who answers, where a service has several
            "provider",
            "route",
            "transforms",
            "usage",
            "user_name",
            "char_name",
            "spaces_between_special_tokens",
            "id",
            "chat_id",
            "session_id",
            "conversation_id",
            "request_id",
        }
    ),
    {
        "repeat_last_n": "repetition_penalty",
        "mirostat_tau": "mirostat",
        "mirostat_eta": "mirostat",
        "dynatemp_exponent": "dynatemp_range",
        "smoothing_curve": "smoothing_factor",
        "dry_base": "dry_multiplier",
        "dry_allowed_length": "dry_multiplier",
        "dry_penalty_last_n": "dry_multiplier",
        "dry_sequence_breakers": "dry_multiplier",
        "xtc_threshold": "xtc_probability",
    },
)
MESSAGE_KEYS = KnownKeys(
    {
        "tool_calls": Wish(_CALL),
        "function_call": Wish(_CALL),
        "tool_call_id": Wish(_CALL),
        "audio": Wish("Answers are text"),
        "images": Wish(_CONTENT),
        "files": Wish(_CONTENT),
        "prefix": Wish("Answers are not continued: send a question last"),
        # of a message of the Responses API
        "type": Wish("Send roles and texts", ("message",)),
        "status": Wish("Send complete answers", ("completed",)),
        "phase": Wish("Send the final answer alone", ("final_answer",)),
    },
    frozenset(
        {
            "name",
            "annotations",
            "cache_control",
            "id",
            "created_at",
            "timestamp",
            "provider_specific_fields",
            # what an earlier model thought
            "reasoning_content",
            "reasoning",
            "reasoning_details",
            "thinking_blocks",
        }
    ),
)
PART_KEYS = KnownKeys(
    {},
    frozenset(
        {
            "cache_control",
            "annotations",
            "id",
            "tool_call_ids",
            # of an image, whose bytes say what it is
            "format",
            "mime_type",
            "media_type",
            "source_type",
        }
    ),
)
STREAM_KEYS = KnownKeys(
    {"continuous_usage_stats": Wish("Tokens are counted at the end: include_usage")},
    frozenset({"include_obfuscation"}),
)


def asks_nothing(value: JsonValue, wish: Wish | None = None) -> bool:
    """Whether a key with this value asks for nothing: it is empty, or one of the wish's neutral values."""
    plain = _plain(value)
    if plain is None or (wish is not None and plain in map(_plain, wish.neutral)):
        return True
    return not (wish is not None and wish.strict) and plain in (0, "", [], {}, "false")


def review(keys: Mapping[str, JsonValue], known: KnownKeys, fields: Collection[str]) -> None:
    """Raise PydanticCustomError for the first key that asks for what is not offered; its `param` is the key.

    `fields` are the keys that are offered, one of which a mistyped name may mean.
    """
    for name, value in keys.items():
        wish = known.wishes.get(name)
        if name in known.no_effect or asks_nothing(value, wish):
            continue
        if wish is None:
            raise refused(name, _unknown(name, fields), "unknown_parameter")
        raise refused(name, f"{_shown(value)} is not offered here. {wish.advice}", "unsupported_parameter")


def without_effect(keys: Mapping[str, JsonValue], known: KnownKeys) -> list[str]:
    """The names of the keys that are accepted although they ask for something."""
    return [name for name, value in keys.items() if name in known.no_effect and not asks_nothing(value)]


def parts_alone(keys: Mapping[str, JsonValue], known: KnownKeys) -> list[str]:
    """The keys of `parts_of` that ask for something while what they are a part of does not."""
    on = {name for name, value in keys.items() if not asks_nothing(value, known.wishes.get(name))}
    return [part for part, switch in known.parts_of.items() if part in on and switch not in on]


def refused(name: str, text: str, code: str) -> PydanticCustomError:
    """The error for one key, for a validator to raise."""
    return PydanticCustomError("not_offered", "{text}", {"text": text, "param": name, "code": code})


def _plain(value: JsonValue) -> JsonValue:
    """The value to compare: texts in lower case and as the number they spell, objects without members that are empty.

    true and false are texts, since they are not the numbers 1 and 0.
    """
    if isinstance(value, dict):
        members = {name: _plain(inner) for name, inner in value.items()}
        return {name: inner for name, inner in members.items() if inner not in (None, 0, "", [], {}, "false")}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, str | bool):
        return value
    text = str(value).strip().lower()
    return float(text) if _NUMBER.fullmatch(text) else text


def _unknown(name: str, fields: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:LONGEST_VALUE], fields, 1, NEAR)
    return f"the server does not know this key. {f'Did you mean {near[0]}?' if near else 'Leave it out'}"


def _shown(value: JsonValue) -> str:
    """The value, or its kind where it is long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
