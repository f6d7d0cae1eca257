"""Repeat a small data file, and say what repetition does to a model."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_tools.rows.image_root import recipe_image_folder
from data_tools.rows.row_output import check_output, row_writer
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.readers import read, source_format
from llm.formats.row_files import data_files, read_rows


@dataclass(frozen=True, slots=True)
class RepeatResult:
    """What was written: rows in the source and copies of each; what its answers are like before they are repeated."""

    format: str
    rows: int
    copies: int
    answers: int
    distinct: int
    commonest: str
    times: int
    images: str  # what a recipe must name as the image folder, empty where nothing

    @property
    def seen(self) -> int:
        """How often the most common answer stands in what was written."""
        return self.times * self.copies

    def warning(self) -> str:
        """What the course learnt, with this file's numbers."""
        said = self.commonest if len(self.commonest) <= 60 else f"{self.commonest[:60]}..."
        return f"""{self.distinct} different answers in {self.answers * self.copies:,}; the most common would be seen \
{self.seen:,} times an epoch: {said!r}
  10,000 copies of one sentence left a model that said nothing else after 600 steps. Rather:
  - vary questions and answers: eyegraft data identity, eyegraft data ask
  - mix in ordinary chat: eyegraft data mix THIS=1 CHAT=1 OUT
  - leave the file as it is and give its source `weight: {self.copies}` in the recipe: the same, without a copy
  - watch `train.probes`, and keep the checkpoint before the damage (train.save_every, train.keep)"""


def repeat(source: Source, copies: int, out: Path) -> RepeatResult:
    """Write the rows of a source, as they are, `copies` times one after another; training shuffles them.

    Raises what reading raises, ConfigError for fewer than two copies or a file that `out` cannot hold.
    """
    if copies < 2:
        raise ConfigError(f"repeat: {copies} copies. Give how often each row shall stand in the file, 2 or more")
    file = Path(source.path)
    files = data_files(file)
    check_output(out, files)
    name, _ = source_format(source, Path())
    answers, named = _answers(source)
    rows = 0
    with row_writer(out, files) as write:
        for _ in range(copies):
            for place, row in read_rows(file):
                write(place, row)
                rows += 1
    commonest, times = max(answers.items(), key=lambda item: item[1])
    images = recipe_image_folder(source, out.parent) if named else ""
    return RepeatResult(name, rows // copies, copies, answers.total(), len(answers), commonest, times, images)


def _answers(source: Source) -> tuple[Counter[str], bool]:
    """How often each answer that is trained on stands in the source, and whether any row names a picture file."""
    answers: Counter[str] = Counter()
    named = False
    for conversation in read(source, Path()):
        answers.update(turn.text for turn in conversation.messages if turn.role == "assistant" and turn.loss)
        named = named or any(image.path for image in conversation.images)
    return answers, named
