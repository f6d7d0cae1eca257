"""Questions as `eyegraft eval` asks them, written from docs/reference/evaluate.md and without its code."""

from collections.abc import Mapping, Sequence

Row = Mapping[str, str]


def letters_prompt(row: Row) -> str:
    """A row of MMBench."""
    options = [f"{letter}. {row[letter]}" for letter in "ABCDE" if row.get(letter)]
    lines = [row["hint"], row["question"], *options]
    return "\n".join(
        [line for line in lines if line] + ["Answer with the option's letter from the given choices directly."]
    )


def yes_no_prompt(row: Row) -> str:
    """A line of POPE."""
    return f"{row['text']}\nAnswer the question using a single word or phrase."


def examination_prompt(subject: str, shots: Sequence[Sequence[str]], cells: Sequence[str]) -> str:
    """A row of MMLU's CSV after answered ones: question, A, B, C, D, letter."""
    head = f"The following are multiple choice questions (with answers) about {subject}."
    return "\n\n".join([head, *(f"{_asked(one)} {one[5]}" for one in shots), _asked(cells)])


def _asked(cells: Sequence[str]) -> str:
    question, *options = cells[:5]
    return "\n".join([question, *map("{}. {}".format, "ABCD", options), "Answer:"])
