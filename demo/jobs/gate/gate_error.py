"""Why a job cannot run, as the program that looks at it raises it."""

from llm.errors import EyegraftError
from vlm.service.store.rows import JobError


class GateError(EyegraftError):
    """Why a job cannot run, with its code and the field of the request."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.error = JobError(code, message, param)
