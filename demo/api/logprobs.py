"""Log probabilities of an answer's tokens, as OpenAI's two forms of completions write them."""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from llm.chat.answer_text import UNFINISHED
from llm.formats.conversation import ImageRef

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel
    from llm.chat.token_scores import TokenScore

MOST_LIKELIEST = 20  # tokens with their log probabilities at each place


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores prompt and answer in the answer's turn, after its last token."""

    chat_model: "ChatModel"
    top: int  # likeliest tokens at each place
    skipped: int = 0  # tokens of the prompt that are left out
    images: tuple[ImageRef, ...] = ()
    unscored: tuple[int, ...] = ()  # end marks that are left out after an answer
    scores: list["TokenScore"] = field(default_factory=list)

    def score(self, ids: list[int]) -> None:
        """Score the tokens of prompt and answer, whose end mark is the last where the model wrote one."""
        from llm.chat.token_scores import token_scores  # imports torch, as the model has

        model = self.chat_model
        if len(ids) > self.skipped and ids[-1] in self.unscored:
            ids = ids[:-1]
        self.scores.extend(token_scores(model.model, ids, model.embed(ids, self.images), self.top)[self.skipped :])

    def of_text(self) -> dict[str, Any]:
        """The form of text completions: lists by token."""
        tokens = [self._text(score.id) for score in self.scores]
        tops = [{self._text(token): logprob for token, logprob in score.top} or None for score in self.scores]
        return {
            "tokens": tokens,
            "token_logprobs": [score.logprob for score in self.scores],
            "top_logprobs": tops,
            "text_offset": [*accumulate(map(len, tokens), initial=0)][:-1],
        }

    def of_chat(self) -> dict[str, Any]:
        """The form of chat completions: an object a token."""
        content = [
            {
                **self._entry(score.id, score.logprob),
                "top_logprobs": [self._entry(token, logprob) for token, logprob in score.top],
            }
            for score in self.scores
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float | None) -> dict[str, Any]:
        """A token; `bytes` is null for a part of a character, which has no text of its own."""
        text = self._decoded(token)
        shown = {"token": self._text(token), "logprob": logprob}
        return {**shown, "bytes": None if UNFINISHED in text else list(text.encode())}

    def _text(self, token: int) -> str:
        """A token's text; its name in the vocabulary where it is a part of a character, which has no text."""
        text = self._decoded(token)
        return str(self.chat_model.encoder.tokenizer.convert_ids_to_tokens(token)) if UNFINISHED in text else text

    def _decoded(self, token: int) -> str:
        return str(self.chat_model.encoder.tokenizer.decode([token]))
