"""Messages of libraries in ours: what is shown says something, and no message ends in a colon."""

import pytest

from llm.errors import ModelError
from llm.library_errors import LONGEST, as_model_error, first_line, reason

STATE = (
    "Error(s) in loading state_dict for PeftModel:\n\tsize mismatch for lm_head.weight: copying a param with "
    "shape torch.Size([264, 32]), the shape in current model is torch.Size([260, 32]).\n\tsize mismatch for another"
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Plain.\nLong advice follows", "Plain."),
        (STATE, STATE.split("\n\tsize mismatch for another")[0].replace("\n\t", " ")),
        ("\n\n  Announced:  \n\n   the reason  \nmore", "Announced: the reason"),
        ("One:\nTwo:\nThree:\nFour:\nFive", "One: Two: Three: Four"),
        ("Nothing follows:", "Nothing follows"),
        ("", ""),
        ("x" * 1000, "x" * LONGEST + "..."),
    ],
)
def test_the_lines_that_say_something_are_shown(said: str, shown: str) -> None:
    assert first_line(RuntimeError(said)) == shown


def test_the_problem_the_reason_and_the_advice() -> None:
    with pytest.raises(ModelError) as caught, as_model_error("adapter cannot be loaded", "Name its own base"):
        raise RuntimeError(STATE)
    text = str(caught.value)
    assert text.startswith("adapter cannot be loaded: Error(s) in loading state_dict for PeftModel: size ")
    assert "[264, 32]" in text and "[260, 32]" in text and text.endswith(". Name its own base")


def test_an_exception_without_words_is_named() -> None:
    assert reason(TypeError()) == "(TypeError)"
    assert reason(KeyError("layers")) == "'layers' is missing or unknown"
