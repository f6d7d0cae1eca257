"""Formats with a question and an answer in named columns, and the column mapping of a recipe."""

from dataclasses import dataclass

from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.conversation import Message
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images, split_placeholders
from llm.formats.row_files import Record, Row

NO_OUTPUT = "<nooutput>"  # what Alpaca has where the teacher model gave no answer

_ROLES_OF_COLUMNS = ("system", "input", "output", "text", "image")


def question_and_answer(question: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """A conversation of one question and one answer; without a system message if `system` is blank."""
    opening = (Message("system", (system,)),) if system.strip() else ()
    return (*opening, Message("user", (question,)), Message("assistant", (answer,)))


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """A format with fixed columns. The question is the columns `questions` joined by line breaks."""

    questions: tuple[str, ...]
    answer: str
    optional: tuple[str, ...] = ()  # columns that may be missing
    system: str = ""
    also: tuple[str, ...] = ()  # columns that identify the format but are not read

    def fits(self, row: Row) -> bool:
        """Whether the row has this format's columns, and text in those that are read."""
        needed = [name for name in (*self.questions, self.answer, self.system) if name and name not in self.optional]
        return all(isinstance(row.get(name), str) for name in needed) and all(name in row for name in self.also)

    def read(self, record: Record) -> tuple[Message, ...]:
        """A question and an answer; nothing when the row is marked as having no answer."""
        answer = record.text(self.answer)
        if answer.strip() == NO_OUTPUT:
            return ()
        pieces = [record.optional(name) if name in self.optional else record.text(name) for name in self.questions]
        question = "\n".join(piece for piece in pieces if piece.strip())
        return question_and_answer(question, answer, record.optional(self.system) if self.system else "")

    @property
    def shape(self) -> str:
        """The columns as text, for messages."""
        names = (self.system, *self.questions, *self.also, self.answer)
        return "columns " + ", ".join(name for name in names if name and name not in self.optional)


ALPACA = ColumnFormat(("instruction", "input"), "output", optional=("input",))
ALPACA_ZH = ColumnFormat(("instruction_zh", "input_zh"), "output_zh", optional=("input_zh",))
OPENORCA = ColumnFormat(("question",), "response", system="system_prompt")
CODE_ALPACA = ColumnFormat(("prompt",), "completion")
SQL = ColumnFormat(("context", "question"), "answer")
LAW_REFERENCE = ColumnFormat(("question",), "answer", also=("reference",))
LAW_CRIMES = ColumnFormat(("input",), "output")
ARXIV = ColumnFormat(("abstract",), "title")
STACK_EXCHANGE = ColumnFormat(("question",), "response")
TINY_CODES = ColumnFormat(("prompt",), "response")


def read_law(record: Record) -> tuple[Message, ...]:
    """The two law data sets: question and answer with references, or input and output."""
    return (LAW_REFERENCE if "question" in record.row else LAW_CRIMES).read(record)


def read_colors(record: Record) -> tuple[Message, ...]:
    """A colour's code from its description, without the colour's name at its start."""
    name, colon, description = record.text("description").partition(":")
    return question_and_answer((description if colon else name).strip(), record.text("color"))


def check_columns(source: Source) -> None:
    """Raise ConfigError when the column mapping of a recipe is invalid."""
    columns = source.columns
    known = ", ".join(_ROLES_OF_COLUMNS)
    if not columns:
        raise ConfigError(f"{source.path}: format: columns needs `columns`, which maps {known} to column names")
    unknown = sorted(set(columns) - set(_ROLES_OF_COLUMNS))
    if unknown:
        raise ConfigError(f"{source.path}: columns: {', '.join(unknown)}: unknown role. Known are {known}")
    if "text" in columns and len(columns) > 1:
        raise ConfigError(f"{source.path}: columns: text excludes the other roles. Map a caption to output")
    if "text" not in columns and ("output" not in columns or not {"input", "image"} & set(columns)):
        raise ConfigError(f"{source.path}: columns: map output with input or image or both, or text alone")


def read_columns(record: Record) -> tuple[Message, ...]:
    """The column mapping of a recipe. Images replace `<image>` in the input, or precede it."""
    columns = record.columns
    if "text" in columns:
        return (Message("assistant", (record.text(columns["text"]),)),)
    question = record.optional(columns["input"]) if "input" in columns else ""
    answer = record.text(columns["output"])
    system = record.optional(columns["system"]) if "system" in columns else ""
    if "image" not in columns:
        return question_and_answer(question, answer, system)
    images = record_images(record, (columns["image"],))
    *opening, _, last = question_and_answer(question, answer, system)
    return place_images(record, (*opening, Message("user", split_placeholders(question)), last), images, SHOW_ADVICE)
