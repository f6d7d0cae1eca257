"""Formats whose rows are a question and an answer in named columns, and the mapping a recipe writes itself."""

from dataclasses import dataclass

from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.conversation import Message
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images, split_placeholders
from llm.formats.row_files import Record, Row

NO_OUTPUT = "<nooutput>"  # what alpaca's makers wrote where the teacher gave no answer

_ROLES_OF_COLUMNS = ("system", "input", "output", "text", "image")


def question_and_answer(question: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """One turn; an empty system prompt is none."""
    opening = (Message("system", (system,)),) if system.strip() else ()
    return (*opening, Message("user", (question,)), Message("assistant", (answer,)))


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """A format of fixed columns. The question is `questions` joined by line breaks; `may_lack` names optional ones."""

    questions: tuple[str, ...]
    answer: str
    may_lack: tuple[str, ...] = ()
    system: str = ""
    also: tuple[str, ...] = ()  # columns that only tell the format apart

    def fits(self, row: Row) -> bool:
        """True when the row has this format's columns, as text where they are read."""
        needed = [name for name in (*self.questions, self.answer, self.system) if name and name not in self.may_lack]
        return all(isinstance(row.get(name), str) for name in needed) and all(name in row for name in self.also)

    def read(self, record: Record) -> tuple[Message, ...]:
        """A question and an answer, or nothing when the row says itself that it has no answer."""
        answer = record.text(self.answer)
        if answer.strip() == NO_OUTPUT:
            return ()
        pieces = [record.optional(name) if name in self.may_lack else record.text(name) for name in self.questions]
        question = "\n".join(piece for piece in pieces if piece.strip())
        return question_and_answer(question, answer, record.optional(self.system) if self.system else "")

    @property
    def shape(self) -> str:
        """The columns, for people."""
        names = (self.system, *self.questions, *self.also, self.answer)
        return "columns " + ", ".join(name for name in names if name and name not in self.may_lack)


ALPACA = ColumnFormat(("instruction", "input"), "output", may_lack=("input",))
ALPACA_ZH = ColumnFormat(("instruction_zh", "input_zh"), "output_zh", may_lack=("input_zh",))
OPENORCA = ColumnFormat(("question",), "response", system="system_prompt")
CODE_ALPACA = ColumnFormat(("prompt",), "completion")
SQL = ColumnFormat(("context", "question"), "answer")
LAW_REFERENCE = ColumnFormat(("question",), "answer", also=("reference",))
LAW_CRIMES = ColumnFormat(("input",), "output")
ARXIV = ColumnFormat(("abstract",), "title")
STACK_EXCHANGE = ColumnFormat(("question",), "response")
TINY_CODES = ColumnFormat(("prompt",), "response")


def read_law(record: Record) -> tuple[Message, ...]:
    """Either of the two law data sets: question/answer with references, or input/output."""
    return (LAW_REFERENCE if "question" in record.row else LAW_CRIMES).read(record)


def read_colors(record: Record) -> tuple[Message, ...]:
    """A colour's code from its description; the description begins with the colour's name, which is left out."""
    name, colon, description = record.text("description").partition(":")
    return question_and_answer((description if colon else name).strip(), record.text("color"))


def check_columns(source: Source) -> None:
    """Raise ConfigError when the recipe's own mapping cannot be obeyed."""
    columns = source.columns
    known = ", ".join(_ROLES_OF_COLUMNS)
    if not columns:
        raise ConfigError(f"{source.path}: format: columns needs `columns`, which maps {known} to column names")
    unknown = sorted(set(columns) - set(_ROLES_OF_COLUMNS))
    if unknown:
        raise ConfigError(f"{source.path}: columns: {', '.join(unknown)}: no such role of a column. Known are {known}")
    if "text" in columns and len(columns) > 1:
        raise ConfigError(f"{source.path}: columns: text stands alone. Map a caption to output")
    if "text" not in columns and ("output" not in columns or not {"input", "image"} & set(columns)):
        raise ConfigError(f"{source.path}: columns: map output with input or image or both, or text alone")


def read_columns(record: Record) -> tuple[Message, ...]:
    """The recipe's own mapping. Images go where the input says `<image>`, or before it when it does not."""
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
