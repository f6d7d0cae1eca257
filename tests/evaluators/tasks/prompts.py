"""Questions and letters as `eyegraft eval` asks and reads them, written from docs/reference/evaluate.md alone."""

import re
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


def letter_of(answer: str, options: Sequence[str]) -> str:
    """The letter that an answer chooses among the options' texts, A first; empty where it chooses none.

    Alone, in brackets or first before a mark; the last one after "answer", "option" or "choice"; the only option whose
    text it has.
    """
    letters = "ABCDE"[: len(options)]
    text = answer.strip()
    if first := re.match(rf"\W*([{letters}])(?=\s*(?:[).\]:,*]|\n|$))", text):
        return first[1]
    if named := re.findall(rf"(?i:answer|option|choice)(?i:\s+is)?[\s:(]*([{letters}])(?![A-Za-z'])", text):
        return str(named[-1])
    with_text = [
        letter
        for letter, option in zip(letters, options, strict=True)
        if re.search(rf"(?<!\w){re.escape(option.casefold())}(?!\w)", text.casefold())
    ]
    return with_text[0] if len(with_text) == 1 else ""


def _asked(cells: Sequence[str]) -> str:
    question, *options = cells[:5]
    return "\n".join([question, *map("{}. {}".format, "ABCD", options), "Answer:"])
