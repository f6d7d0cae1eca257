"""POST /v1/completions: a text is continued as it is, without a chat template."""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from demo.api.chat_request import SamplingRequest
from demo.api.completion import Choice
from demo.api.request_keys import CHAT_KEYS, KnownKeys, Wish, refused, without_effect
from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.visitor_errors import RequestError
from llm.chat.token_stream import UNFINISHED

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel
    from llm.chat.token_scores import TokenScore

DEFAULT_TOKENS = 16  # of OpenAI's API
MOST_LIKELIEST = 20  # tokens with their log probabilities at each place
_FORBIDDEN = ("logprobs", "top_logprobs")
COMPLETION_KEYS = KnownKeys(
    {
        **{name: wish for name, wish in CHAT_KEYS.wishes.items() if name not in _FORBIDDEN},
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
        for name, asked in (("stream", self.stream), ("stop", self.stop)):
            if asked and self.logprobs is not None:
                raise refused("logprobs", f"is not offered together with {name}. Leave one out", "invalid_value")
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
    """The choices of /v1/completions; `scores` are filled when the answer has been generated."""

    chat_model: "ChatModel"
    needs_end: bool  # scored after its last token
    echo: str = ""  # the text before the answer
    skipped: int = 0  # tokens of the prompt that the scores leave out
    scores: list["TokenScore"] = field(default_factory=list)

    id_prefix, object, chunk = "cmpl-", "text_completion", "text_completion"

    def begin(self) -> list[Choice]:
        """The prompt, where it is wanted."""
        return [self.piece(self.echo)] if self.echo else []

    def piece(self, text: str) -> Choice:
        """A piece of text."""
        return _choice(text, None)

    def end(self, finish: str) -> Choice:
        """An empty text with the finish reason."""
        return _choice("", finish)

    def complete(self, text: str, finish: str) -> Choice:
        """The text, and what it was scored with."""
        return _choice(self.echo + text, finish) | {"logprobs": self._logprobs() if self.scores else None}

    def score(self, top: int, ids: list[int]) -> None:
        """Score the tokens of prompt and answer. Called in the answer's turn."""
        from llm.chat.token_scores import token_scores  # imports torch, as the model has

        model = self.chat_model
        self.scores.extend(token_scores(model.model, ids, model.embed(ids, ()), top)[self.skipped :])

    def _logprobs(self) -> dict[str, Any]:
        tokens = [self._text(score.id) for score in self.scores]
        tops = [{self._text(token): logprob for token, logprob in score.top} or None for score in self.scores]
        return {
            "tokens": tokens,
            "token_logprobs": [score.logprob for score in self.scores],
            "top_logprobs": tops,
            "text_offset": [*accumulate(map(len, tokens), initial=0)][:-1],
        }

    def _text(self, token: int) -> str:
        """A token's text; its name in the vocabulary where it is a part of a character, which has no text."""
        tokenizer = self.chat_model.encoder.tokenizer
        text = str(tokenizer.decode([token]))
        return str(tokenizer.convert_ids_to_tokens(token)) if UNFINISHED in text else text


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
    return TextForm(chat_model, request.logprobs is not None, echo, 0 if request.echo else len(ids))
