"""Formats with a question and an answer in named columns, and the column mapping of a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.conversation import Message
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images
from llm.formats.turns.content_parts import split_text
from llm.formats.turns.table_turns import question_and_answer, table_conversation
from llm.records.record import Record, Row

NO_OUTPUT = "<nooutput>"  # what Alpaca has where the teacher model gave no answer

_ROLES_OF_COLUMNS = ("system", "input", "output", "text", "image", "video")


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """A format with fixed columns. The question is the columns `questions` joined by line breaks."""

    questions: tuple[str, ...]
    answer: str
    optional: tuple[str, ...] = ()  # columns that may be missing
    system: str = "system"
    also: tuple[str, ...] = ()  # columns that identify the format
    rendered: str = ""  # a column of the published data set that repeats the record as one text

    def fits(self, row: Row) -> bool:
        """Whether the row has this format's columns, and text in those that are read."""
        needed = [name for name in self._names if name not in self.optional]
        return all(isinstance(row.get(name), str) for name in needed) and all(name in row for name in self.also)

    def read(self, record: Record) -> tuple[Message, ...]:
        """A question and an answer; nothing when the row is marked as having no answer."""
        record.ignore(*self.also)
        answer = record.text(self.answer)
        if answer and answer in str(record.row.get(self.rendered)):
            record.repeats(self.rendered)
        if answer.strip() == NO_OUTPUT:
            return ()
        pieces = [record.optional(name) if name in self.optional else record.text(name) for name in self.questions]
        question = "\n".join(piece for piece in pieces if piece.strip())
        return table_conversation(record, question, answer, self.system)

    @property
    def shape(self) -> str:
        """The columns as text, for messages."""
        names = (*self._names[:-1], *self.also, self.answer)
        return "columns " + ", ".join(name for name in names if name not in self.optional)

    @property
    def _names(self) -> tuple[str, ...]:
        """The columns that are read; `system` is optional in every table that does not name another."""
        system = () if self.system == "system" else (self.system,)
        return (*system, *self.questions, self.answer)


ALPACA = ColumnFormat(("instruction", "input"), "output", optional=("input",), rendered="text")
ALPACA_ZH = ColumnFormat(("instruction_zh", "input_zh"), "output_zh", optional=("input_zh",))
OPENORCA = ColumnFormat(("question",), "response", system="system_prompt")
CODE_ALPACA = ColumnFormat(("prompt",), "completion")
SQL = ColumnFormat(("context", "question"), "answer")
LAW_REFERENCE = ColumnFormat(("question",), "answer", also=("reference",))
LAW_CRIMES = ColumnFormat(("input",), "output")
DOLLY = ColumnFormat(("context", "instruction"), "response", optional=("context",))
ARXIV = ColumnFormat(("abstract",), "title")
STACK_EXCHANGE = ColumnFormat(("question",), "response")
TINY_CODES = ColumnFormat(("prompt",), "response")


QUERY = ColumnFormat(("query",), "response")


def read_law(record: Record) -> tuple[Message, ...]:
    """The two law data sets: question and answer with references, or input and output."""
    return (LAW_REFERENCE if "question" in record.row else LAW_CRIMES).read(record)


def read_colors(record: Record) -> tuple[Message, ...]:
    """A colour's code from its description, without the colour's name at its start."""
    name, colon, description = record.text("description").partition(":")
    return table_conversation(record, (description if colon else name).strip(), record.text("color"))


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
    if "text" not in columns and ("output" not in columns or not {"input", "image", "video"} & set(columns)):
        raise ConfigError(f"{source.path}: columns: map output with input, image or video, or text alone")


def check_column_names(source: Source, rows: Sequence[object]) -> None:
    """Raise ConfigError when none of the first rows has a column that the recipe names."""
    there = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    for role, name in source.columns.items():
        if there and name not in there:
            found = f"{source.path}: columns: {role}: there is no column {name}"
            raise ConfigError(f"{found}. The data has {', '.join(map(str, there))}")


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
    asked = Message("user", split_text(record, columns.get("input", ""), question, marks=True))
    return place_images(record, (*opening, asked, last), images, SHOW_ADVICE)
