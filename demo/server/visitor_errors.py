"""Errors of requests, in the words of a chat user or of a client's author: what was found, where, and what to do."""

from demo.server.refusals import Limit, OverLimit
from llm.chat.chat_errors import image_advice
from llm.errors import DataError, ImageError


class RequestError(OverLimit, DataError):
    """A request that is not accepted: where, what was found, what to do; `param` is the key of the request's body."""

    def __init__(
        self, where: str, found: str, advice: str, param: str = "messages", limit: Limit | None = None
    ) -> None:
        super().__init__(f"{where}: {found}. {advice}")
        self.where, self.found, self.advice, self.param, self.limit = where, found, advice, param, limit


class RefusedImage(ImageError):
    """An image of a request that is not accepted, with advice for the visitor who sent it."""

    def __init__(self, where: str, error: ImageError) -> None:
        super().__init__(error.found, image_advice(error), where, error.code)
