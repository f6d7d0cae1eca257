"""Errors that libraries raise for invalid model files, as ModelError with a readable message."""

from pickle import UnpicklingError
from types import TracebackType

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from llm.errors import ModelError

# What transformers, peft, torch and safetensors raise for files with unexpected content. They do not validate it first,
# so a missing key shows as LookupError, and a list instead of an object as TypeError.
UNREADABLE = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError),
    *(ImportError, EOFError, MemoryError, SafetensorError, StrictDataclassError, UnpicklingError),
)

MOST_LINES, LONGEST = 4, 400  # lines and characters of a library's message


class as_model_error:  # lower case, like the context managers of contextlib
    """Context manager that turns what a library raises into ModelError: `problem`, the library's message, `advice`.

    The block should hold the library's calls only, or errors of our own code would be reported as errors of the files.
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        self.problem, self.advice = problem, advice

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The tokenizers library raises plain Exception; no subclass of it is caught here.
        if isinstance(error, UNREADABLE) or kind is Exception:
            assert error is not None
            advice = f". {self.advice}" if self.advice else ""
            raise ModelError(f"{self.problem}: {reason(error)}{advice}") from error


def reason(error: BaseException) -> str:
    """The first line of a library's message that says something, without the long advice that may follow.

    The exception's type follows, or is all there is, where the text alone does not name the problem.
    """
    line = first_line(error)
    if isinstance(error, KeyError):
        return f"{line} is missing or unknown"
    return line if isinstance(error, OSError | ValueError) and line else f"{line} ({type(error).__name__})".strip()


def first_line(error: BaseException) -> str:
    """The first line of a message, and those after it, up to MOST_LINES, where it only announces them by a colon."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said: list[str] = []
    for line in lines[:MOST_LINES]:
        said.append(line)
        if not line.endswith(":"):
            break
    text = " ".join(said)
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return shown.removesuffix(":")
