"""POST /v1/completions: a text is continued as it is, without a chat template."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from demo.api.chat_request import SamplingRequest
from demo.api.completion import Choice
from demo.api.logprobs import MOST_LIKELIEST, Scoring
from demo.api.request_keys import CHAT_KEYS, KnownKeys, Wish, refused, without_effect
from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.visitor_errors import RequestError

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

DEFAULT_TOKENS = 16  # of OpenAI's API
COMPLETION_KEYS = KnownKeys(
    {
        **CHAT_KEYS.wishes,
        "top_logprobs": Wish("logprobs is the number of likeliest tokens"),
        "messages": Wish("Send it to /v1/chat/completions"),
        "suffix": Wish("Texts are continued at their end"),
    },
    CHAT_KEYS.no_effect,
    CHAT_KEYS.parts_of,
)


def _one_prompt(prompt: object) -> object:
    """The text or the token ids of the one prompt."""
    if isinstance(prompt, list) and not all(map(_is_id, prompt)):
        if len(prompt) > 1:
            raise refused("", f"{len(prompt)} prompts. Send a request for each", "invalid_value")
        prompt = prompt[0]
    if isinstance(prompt, str) or (isinstance(prompt, list) and all(map(_is_id, prompt))):
        return prompt
    raise refused("", "the prompt is neither a text nor a list of token ids", "invalid_type")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class CompletionRequest(SamplingRequest):
    """The body of POST /v1/completions."""

    prompt: Annotated[
        str | list[int],
        BeforeValidator(_one_prompt, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
    ]
    echo: bool | None = Field(None, description="begin the answer with the prompt")
    logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELIEST)] | None = Field(
        None, description="log probability of each token, and of so many likeliest ones"
    )

    @model_validator(mode="after")
    def _review(self) -> Self:
        if self.stop and self.logprobs is not None:
            raise refused("logprobs", "is not offered together with stop. Leave one out", "invalid_value")
        return self.reviewed(COMPLETION_KEYS, self._idle(COMPLETION_KEYS))

    @property
    def wanted(self) -> int:
        """The most tokens to generate; 0 to score the prompt alone."""
        return DEFAULT_TOKENS if self.max_tokens is None else self.max_tokens

    def without_effect(self) -> list[str]:
        """The names of the keys that are accepted although they change nothing."""
        return [*without_effect(self.__pydantic_extra__, COMPLETION_KEYS), *self._idle(COMPLETION_KEYS)]


@dataclass(frozen=True, slots=True)
class TextForm:
    """The choices of /v1/completions; they are scored when the answer has been generated."""

    scoring: Scoring | None = None
    echo: str = ""  # the text before the answer

    id_prefix, object, chunk = "cmpl-", "text_completion", "text_completion"

    @property
    def needs_end(self) -> bool:
        """Whether it is scored after its last token."""
        return self.scoring is not None

    def begin(self) -> list[Choice]:
        """The prompt, where it is wanted."""
        return [self.piece(self.echo)] if self.echo else []

    def piece(self, text: str) -> Choice:
        """A piece of text."""
        return _choice(text, None)

    def end(self, finish: str) -> Choice:
        """An empty text with the finish reason."""
        return _choice("", finish)

    def scores(self) -> list[Choice]:
        """The scores, after a streamed answer."""
        return [_choice("", None) | {"logprobs": self.scoring.of_text()}] if self.scoring else []

    def complete(self, text: str, finish: str) -> Choice:
        """The text, and what it was scored with."""
        return _choice(self.echo + text, finish) | {"logprobs": self.scoring.of_text() if self.scoring else None}


def _choice(text: str, finish: str | None) -> Choice:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def prompt_ids(request: CompletionRequest, chat_model: "ChatModel", limits: Limits) -> list[int]:
    """The ids of the prompt. Special tokens that its text spells are these tokens: its author writes all of it.

    Raises RequestError for an empty or too long prompt, an id that the model does not have, and an image's place.
    """
    encoder, prompt = chat_model.encoder, request.prompt
    if isinstance(prompt, str):
        ids = [int(one) for one in encoder.tokenizer(_checked(prompt, limits)).input_ids]
    else:
        known = len(encoder.tokenizer)
        ids = prompt
        wrong = [one for one in ids if not 0 <= one < known]
        if wrong:
            raise _refused(f"the model has no token {wrong[0]}", f"Its tokens are 0 to {known - 1:,}")
    if not ids:
        raise _refused("is empty", "Write the text to continue")
    if encoder.image_id in ids:
        raise _refused("holds the model's place for an image", "Send images to /v1/chat/completions")
    return ids


def _checked(prompt: str, limits: Limits) -> str:
    if len(prompt) > limits.text:
        found = f"more than {limits.text:,} characters"
        raise RequestError("prompt", found, "Shorten it", "prompt", Limit("characters", limits.text))
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        found = "half of a surrogate pair, which is not a character"
        raise _refused(found, "Write the complete character") from None
    return prompt


def _refused(found: str, advice: str) -> RequestError:
    return RequestError("prompt", found, advice, "prompt")


def form_of(request: CompletionRequest, chat_model: "ChatModel", ids: list[int]) -> TextForm:
    """The form of the answer; the prompt's text is that of its ids where it came as ids."""
    echo = ""
    if request.echo:
        prompt = request.prompt
        echo = prompt if isinstance(prompt, str) else str(chat_model.encoder.tokenizer.decode(prompt))
    skipped = 0 if request.echo else len(ids)
    return TextForm(None if request.logprobs is None else Scoring(chat_model, request.logprobs, skipped), echo)
