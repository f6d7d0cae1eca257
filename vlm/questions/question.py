"""One question of a benchmark, whatever file it is from, and the questions of a file with what was lost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llm.errors import Place, RecordError
from llm.formats.conversation import ImageRef, Message
from vlm.scores.boxes import Box


@dataclass(frozen=True, slots=True)
class Question:
    """`answers` are the accepted ones: letters, yes or no, texts; none where the file hides them.

    `group`: questions of one group depend on each other (circular passes, one image) and are resampled together.
    `options` map letters to texts. `shots` are answered questions that are shown before it. `asked`: the messages up to
    the question where the file has them itself; otherwise the form writes the prompt. `box` is the true one in pixels
    of an image of `size` (width, height).
    """

    id: str
    group: str
    form: str
    text: str
    images: tuple[ImageRef, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    category: str = ""
    split: str = ""
    hint: str = ""
    shots: tuple["Question", ...] = field(default=(), repr=False)
    asked: tuple[Message, ...] = ()
    box: Box | None = None
    size: tuple[int, int] = (0, 0)
    place: Place = field(default=Place(""), compare=False)

    @property
    def is_hidden(self) -> bool:
        """Whether the file does not say the answer."""
        return not self.answers and self.box is None


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of one benchmark in the order of its files. `reason`: why it is read as this form, for the log.

    `lost` are rows that could not be read, each with its place and what to do; `notes` are lines for the log.
    """

    form: str
    reason: str
    questions: tuple[Question, ...]
    lost: tuple[RecordError, ...] = ()
    notes: tuple[str, ...] = ()
