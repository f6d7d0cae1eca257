"""The text output of `data show`: in colours on a terminal, with brackets in a file or pipe."""

import os
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from data_tools.inspect.show import ShownPack, ShownRecords, ShownSample
from llm.console import localized
from llm.encoding.token_view import Kind, SampleBlock, TokenRun
from llm.formats.conversation import ImageRef
from vlm.vision.images import name_of

STYLES: dict[Kind, str] = {"context": "", "supervised": "bold green", "image": "white on blue"}
MARKS: dict[Kind, tuple[str, str]] = {"context": ("", ""), "supervised": ("⟦", "⟧"), "image": ("«", "»")}
BORDER = "dim"
# Control characters of a text, which could move the cursor or change colours, are replaced by visible ones.
_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_INVISIBLE = dict.fromkeys([0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "␦")
CONTROLS = _CONTROLS | _INVISIBLE


def print_shown(shown: ShownRecords, console: Console) -> None:
    """Print a title, a legend and the records."""
    plain = not console.is_terminal or console.no_color
    width = max(20, console.width - 3) if console.is_terminal else 0
    for line in _lines(shown, plain, width, console):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def title(shown: ShownRecords) -> str:
    """The data's name and what was drawn."""
    return localized(f"{shown.name}: {_drawn(shown)}")


def drawn(shown: ShownRecords) -> str:
    """The number of records, the seed and the model."""
    return localized(_drawn(shown))


def _drawn(shown: ShownRecords) -> str:
    model = (
        f"tokens of {shown.model}, template {shown.template}"
        if shown.model
        else "texts without tokens, as no model is named"
    )
    return f"{shown.records} records drawn with seed {shown.seed}; {model}"


def about_pack(pack: ShownPack) -> str:
    """The position and size of a pack."""
    several = "sample" if len(pack.samples) == 1 else "samples"
    images = f", {pack.count('image'):,} image tokens" if pack.count("image") else ""
    computed = f" ({pack.computed:,} computed, as samples share more prefixes)" if pack.computed < pack.tokens else ""
    return localized(
        f"step {pack.step}, pack {pack.number} of {pack.of}: {pack.tokens:,} of {pack.budget:,} tokens{computed}, "
        f"{len(pack.samples)} {several}, {pack.count('supervised'):,} supervised{images}"
    )


def about_block(sample: ShownSample, block: SampleBlock) -> str:
    """The heading of a prefix or a branch."""
    if block.is_prefix:
        return localized(f"shared prefix: {block.tokens:,} tokens, computed once for {block.sequences} branches")
    after = f" after branch {block.parent}" if block.parent else ""
    if block.sequences > 1:
        return localized(
            f"branch {block.branch}{after}: {block.tokens:,} tokens, computed once for {block.sequences} branches"
        )
    place = f", {sample.places[block.branch - 1]}" if len(sample.places) > 1 else ""
    return localized(
        f"branch {block.branch}{after}: {block.tokens:,} tokens, {block.count('supervised'):,} supervised{place}"
    )


def about_sample(sample: ShownSample) -> str:
    """The place of a sample, and its size if tokens are counted."""
    place = sample.places[0] if len(sample.places) == 1 else f"{len(sample.places)} records with a shared prefix"
    size = f": {sample.tokens:,} tokens, {sample.count('supervised'):,} supervised" if sample.tokens else ""
    return localized(f"{place}{size}")


def too_long(shown: ShownRecords) -> str:
    """The drawn records that training leaves out."""
    return localized(f"left out, longer than {shown.max_length:,} tokens: {', '.join(shown.too_long)}")


def _lines(shown: ShownRecords, plain: bool, width: int, console: Console) -> Iterator[Text]:
    yield Text(visible(title(shown)))
    yield _legend(plain)
    if shown.too_long:
        yield Text(visible(too_long(shown)))
    if shown.note:
        yield Text(visible(localized(shown.note)))
    for pack in shown.packs:
        yield Text()
        yield Text(f"━━ {about_pack(pack)} ━━", "bold")
        for sample in pack.samples:
            yield from _sample(sample, plain, width, console)
    for sample in shown.texts:
        yield Text()
        yield from _sample(sample, plain, width, console)


def _legend(plain: bool) -> Text:
    gap = Text("   ")
    supervised, image = (
        _marked("supervised", localized("supervised"), plain),
        _marked("image", localized("image"), plain),
    )
    return gap.join([Text(localized("context")), supervised, image])


def _sample(sample: ShownSample, plain: bool, width: int, console: Console) -> Iterator[Text]:
    yield Text(visible(f"┏━ {about_sample(sample)}"), BORDER)
    for block in sample.blocks:
        if len(sample.blocks) > 1:
            yield Text(visible(f"┣━━ {about_block(sample, block)}"), BORDER)
        body = Text()
        for run, image in sample.runs_with_images(block):
            body.append_text(_marked(run.kind, _text_of(run, image), plain))
        lines = body.wrap(console, width, tab_size=4) if width else body.split(allow_blank=True)
        for line in lines[:-1] if len(lines) > 1 and not lines[-1].plain else lines:
            yield Text.assemble(("┃ ", BORDER), line)
    yield Text("┗━", BORDER)


def _text_of(run: TokenRun, image: ImageRef | None) -> str:
    if image is None:
        return visible(run.text)
    name = name_of(image).removeprefix(os.getcwd() + os.sep)
    return visible(localized(f"{name}: {run.tokens:,} tokens") if run.tokens else name)


def _marked(kind: Kind, text: str, plain: bool) -> Text:
    """The text in the colour of its kind, or between brackets."""
    before, after = MARKS[kind] if plain or kind == "image" else ("", "")
    return Text(f"{before}{text}{after}", "" if plain else STYLES[kind])


def visible(text: str) -> str:
    """The text with control and invisible characters replaced by visible ones."""
    return text.translate(CONTROLS)
