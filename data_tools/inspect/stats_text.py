"""The text and JSON output of `data stats`."""

from collections.abc import Iterator
from dataclasses import asdict

from data_tools.inspect.stats import Distribution, Statistics, TokenStatistics
from llm.console import listed

MUCH = 0.2  # share of all answers from which a single answer is warned of
ENOUGH = 20  # answers, at least, for that warning
WIDTH = 72  # characters of a frequent text in the report
TURNS = 6  # different numbers of turns in the report


def summary_lines(found: Statistics) -> Iterator[str]:
    """The report: sources, counts, distributions, packs, frequent answers, warnings."""
    yield from found.sources
    yield ""
    yield _line("records", found.records, _notes(found))
    yield _line("turns", sum(turns * count for turns, count in found.turns.items()), _histogram(found.turns, "turn"))
    if found.images:
        shown = f"{found.distinct_images:,} different; {_histogram(found.records_by_images, 'image')}"
        yield _line("images", found.images, shown)
    if found.videos:
        yield _line("videos", found.videos, "each is shown as frames: data.video of the recipe")
    yield _line("CJK letters", f"{found.cjk_letters:.1%}", f"{found.mostly_cjk:,} records are mostly CJK")
    if found.tokens is None:
        yield from _texts(found)
    else:
        yield from _tokens(found, found.tokens)
    if found.answers:
        yield ""
        yield from _answers(found)
    yield from (f"\nwarning: {warning}" for warning in warnings(found))


def warnings(found: Statistics) -> Iterator[str]:
    """Warnings about likely problems in training on these data."""
    if found.answers >= ENOUGH:
        text, count = found.common_answers[0]
        if count > MUCH * found.answers:
            yield (
                f"one answer makes up {count / found.answers:.0%} of all: {_quoted(text)}. Always giving it is "
                "right that often, and training on copies of one sentence soon produces nothing else: vary the "
                "questions and answers, or mix in other chat"
            )
    tokens = found.tokens
    if tokens is not None and tokens.too_long:
        yield (
            f"{tokens.too_long:,} of {found.records:,} records are longer than {tokens.max_length:,} tokens and would "
            "be left out: raise data.max_length, or shorten them"
        )


def as_json(found: Statistics) -> dict[str, object]:
    """The statistics and warnings as JSON."""
    values = asdict(found)
    if found.tokens is not None:
        shares = [{"fullness": packing.fullness, "saved": packing.saved} for packing in found.tokens.packing]
        packing = [asdict(one) | share for one, share in zip(found.tokens.packing, shares, strict=True)]
        values["tokens"]["packing"] = packing
        values["tokens"]["supervised_share"] = found.tokens.supervised / found.tokens.rows
    return values | {"warnings": list(warnings(found))}


def _notes(found: Statistics) -> str:
    notes = [f"{found.with_system:,} with a system prompt"] if found.with_system else []
    notes += [f"{found.plain:,} plain text"] if found.plain else []
    return ", ".join(notes)


def _texts(found: Statistics) -> Iterator[str]:
    yield _line("supervised", f"{found.learnt_characters / max(1, found.characters.total):.1%}", "of the characters")
    yield ""
    yield from _distribution_table({"characters": found.characters, "words": found.words})
    yield "no model is named: characters and words (each CJK character is one) instead of tokens, and no packs."
    yield "Add --model FOLDER, or name a recipe"


def _tokens(found: Statistics, tokens: TokenStatistics) -> Iterator[str]:
    yield _line("supervised", tokens.supervised, f"tokens, {tokens.supervised / tokens.rows:.1%}")
    if tokens.image_rows:
        share = tokens.image_rows / tokens.rows
        yield _line("image tokens", tokens.image_rows, f"{share:.1%} of the tokens; {tokens.rows_an_image:,} an image")
    yield ""
    yield from _distribution_table({"tokens": tokens.lengths})
    yield f"tokens of {tokens.model}, template {tokens.template}, image tokens included"
    yield ""
    first = tokens.packing[0]
    yield (
        f"an epoch in packs of at most {first.budget:,} tokens and {first.pictures:,} images, {first.batch:,} records "
        "a step, on one process:"
    )
    yield f"  {'mode':<8} {'order':<9} {'steps':>8} {'packs':>8} {'full':>7} {'tokens':>13} {'sharing saves':>14}"
    for packing in tokens.packing:
        yield (
            f"  {packing.mode:<8} {packing.order:<9} {packing.steps:>8,} {packing.packs:>8,} {packing.fullness:>7.1%} "
            f"{packing.rows:>13,} {packing.saved:>14.1%}"
        )


def _answers(found: Statistics) -> Iterator[str]:
    yield _line("answers", found.answers, f"{found.distinct_answers:,} different")
    yield from _frequent("most common answers", found.common_answers, found.answers)
    if found.common_openings != found.common_answers:
        yield from _frequent("most common first words", found.common_openings, found.answers)


def _frequent(title: str, texts: list[tuple[str, int]], total: int) -> Iterator[str]:
    yield f"  {title}:"
    for text, count in texts:
        yield f"  {count:>10,} {count / total:>6.1%}  {_quoted(text)}"


def _quoted(text: str) -> str:
    """The text in one line, shortened."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _histogram(counts: dict[int, int], noun: str) -> str:
    """`records: 4,000 of 9 turns, ...`, the most common first."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    shown = listed(f"{count:,} of {number} {noun}{'' if number == 1 else 's'}" for number, count in ordered[:TURNS])
    rest = len(ordered) - TURNS
    return f"records: {shown}{f' and {rest} other numbers' if rest > 0 else ''}"


def _distribution_table(spreads: dict[str, Distribution]) -> Iterator[str]:
    """A table of distributions over the records."""
    names = next(iter(spreads.values())).quantiles
    yield f"{'a record':<12} {'total':>13} {'mean':>9} " + " ".join(f"{name:>7}" for name in names)
    for title, found in spreads.items():
        cells = " ".join(f"{value:>7,}" for value in found.quantiles.values())
        yield f"{title:<12} {found.total:>13,} {found.mean:>9,.1f} {cells}"


def _line(name: str, value: int | str, note: str = "") -> str:
    number = f"{value:,}" if isinstance(value, int) else value
    return f"{name:<12} {number:>13}  {note}".rstrip()
