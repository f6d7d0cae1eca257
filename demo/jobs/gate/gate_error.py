"""Why a job cannot run, as the program that looks at it raises it."""

from llm.errors import EyegraftError
from vlm.service.gate_record import GateAnswer
from vlm.service.store.rows import JobError


class GateError(EyegraftError):
    """Why a job cannot run: its code, the field of the request, and what was planned."""

    def __init__(self, code: str, message: str, param: str | None = None, plan: GateAnswer | None = None) -> None:
        super().__init__(message)
        self.error, self.plan = JobError(code, message, param), plan or GateAnswer()
