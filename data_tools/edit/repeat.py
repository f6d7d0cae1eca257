"""`eyegraft data repeat`: repeat a small data file, and warn of what repetition does to a model."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_tools.rows.image_root import recipe_image_folder
from data_tools.rows.row_output import check_output, row_writer
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.readers import read, source_format
from llm.rows.files import data_files, read_rows


@dataclass(frozen=True, slots=True)
class RepeatResult:
    """The source's records, the copies of each, and statistics of the source's answers.

    Args:
        answers: Answers that are trained on.
        distinct: Different ones among them.
        commonest: The most common answer, and `times`, how often it occurs.
        images: The image folder that a recipe must name, empty if none.
    """

    format: str
    rows: int
    copies: int
    answers: int
    distinct: int
    commonest: str
    times: int
    images: str

    @property
    def seen(self) -> int:
        """How often the most common answer was written."""
        return self.times * self.copies

    def warning(self) -> str:
        """What repeated answers do to a model, with the numbers of this file."""
        text = self.commonest if len(self.commonest) <= 60 else f"{self.commonest[:60]}..."
        return f"""{self.distinct} different answers in {self.answers * self.copies:,}; the most common would be seen \
{self.seen:,} times an epoch: {text!r}
  After 600 steps on 10,000 copies of one sentence a model produced nothing else. Alternatives:
  - vary questions and answers: eyegraft data identity, eyegraft data ask
  - mix in ordinary chat: eyegraft data mix THIS=1 CHAT=1 OUT
  - leave the file as it is and give its source `weight: {self.copies}` in the recipe: the same effect without copies
  - watch `train.probes`, and keep early checkpoints (train.save_every, train.keep)"""


def repeat(source: Source, copies: int, out: Path) -> RepeatResult:
    """Write the records of a source `copies` times, unchanged; training shuffles them.

    Raises what reading raises, ConfigError for fewer than two copies or records that `out` cannot hold.
    """
    if copies < 2:
        raise ConfigError(f"repeat: {copies} copies. Give 2 or more")
    file = Path(source.path)
    files = data_files(file, source.split)
    check_output(out, files)
    name, _ = source_format(source, Path())
    answers, has_files = _answers(source)
    rows = 0
    with row_writer(out, files) as write:
        for _ in range(copies):
            for place, row in read_rows(file, source.split):
                write(place, row)
                rows += 1
    commonest, times = max(answers.items(), key=lambda item: item[1])
    images = recipe_image_folder(source, out.parent) if has_files else ""
    return RepeatResult(name, rows // copies, copies, answers.total(), len(answers), commonest, times, images)


def _answers(source: Source) -> tuple[Counter[str], bool]:
    """The count of each answer that is trained on, and whether any record names an image file."""
    answers: Counter[str] = Counter()
    has_files = False
    for conversation in read(source, Path()):
        answers.update(turn.text for turn in conversation.messages if turn.role == "assistant" and turn.loss)
        has_files = has_files or any(image.path for image in conversation.images)
    return answers, has_files
