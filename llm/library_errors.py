"""What a library raises at the files of others, in words."""

from pickle import UnpicklingError
from types import TracebackType

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from llm.errors import ModelError

# What transformers, peft, torch and safetensors raise for files that hold the wrong thing: they look into them without
# asking first what is there, so that a missing key or a list in the place of a table shows as LookupError or TypeError.
UNREADABLE = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError),
    *(ImportError, EOFError, MemoryError, SafetensorError, StrictDataclassError, UnpicklingError),
)


class as_model_error:  # used as `with as_model_error(...)`, like contextlib's own
    """`with as_model_error("what cannot be done"):` around a library's reading of a folder, and nothing of ours.

    What the library raises there becomes ModelError: what was said, the library's first line, the advice.
    """

    def __init__(self, said: str, advice: str = "") -> None:
        self.said, self.advice = said, advice

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The tokenizers library raises Exception itself, which names no kind: nothing else is caught by it.
        if isinstance(error, UNREADABLE) or kind is Exception:
            assert error is not None
            advice = f". {self.advice}" if self.advice else ""
            raise ModelError(f"{self.said}: {reason(error)}{advice}") from error


def reason(error: BaseException) -> str:
    """The first line of a library's message, which tends to be followed by pages of advice; its kind if that is all."""
    line = first_line(error)
    if isinstance(error, KeyError):
        return f"{line} is missing or not known"
    return line if isinstance(error, OSError | ValueError) and line else f"{line} ({type(error).__name__})".strip()


def first_line(error: BaseException) -> str:
    """The first line of a message."""
    return str(error).strip().split("\n", 1)[0]
