"""The HTML output of `data show`: one self-contained page without scripts and fonts, images embedded as thumbnails."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain
from pathlib import Path

from data_tools.inspect.show import ShownPack, ShownRecords, ShownSample
from data_tools.inspect.show_style import STYLE
from data_tools.inspect.show_text import about_block, about_pack, about_sample, drawn, too_long
from llm.console import localized
from llm.encoding.token_view import SampleBlock, TokenRun
from llm.errors import ImageError, RunError
from llm.files.atomic_files import write_atomically
from llm.formats.conversation import ImageRef
from llm.i18n.language import language
from vlm.vision.images import name_of, read_image

SIDE = 160  # pixels of a thumbnail
# Should the escaping of a text fail, the browser still runs no script and fetches nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(shown: ShownRecords) -> str:
    """The document. In place of an image that cannot be read is the error."""
    heading, tag = escape(shown.name), {"zh": "zh-CN"}.get(language(), "en")
    return "".join(
        chain(
            [
                f'<!doctype html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n',
                f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
                '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
                f"<title>{heading}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n",
                f"<h1>{heading}</h1>\n<p>{escape(drawn(shown))}</p>\n",
                f'<p class="legend">{_legend(shown)}</p>\n',
                f'<p class="warning">{escape(too_long(shown))}</p>\n' if shown.too_long else "",
                f'<p class="warning">{escape(localized(shown.note))}</p>\n' if shown.note else "",
                "</header>\n<main>\n",
            ],
            *(_pack(pack) for pack in shown.packs),
            *(_sample(number, sample) for number, sample in enumerate(shown.texts, 1)),
            ["</main>\n</body>\n</html>\n"],
        )
    )


def _legend(shown: ShownRecords) -> str:
    context, supervised, image = map(localized, ("context", "supervised", "image"))
    tokens = f" {localized('thin lines separate tokens')}" if shown.packs else ""
    return f"<span>{context}</span> <mark>{supervised}</mark> <b>{image}</b>{tokens}"


def _pack(pack: ShownPack) -> Iterator[str]:
    bar = f'<div class="bar" role="img" aria-label="{localized("budget used")}">'
    yield f"<section>\n<h2>{escape(about_pack(pack))}</h2>\n{bar}"
    for number, sample in enumerate(pack.samples, 1):
        share = 100 * sample.tokens / pack.budget
        yield f'<i style="width:{share:.2f}%" title="{localized(f"sample {number}: {sample.tokens:,} tokens")}"></i>'
    yield "</div>\n"
    for number, sample in enumerate(pack.samples, 1):
        yield from _sample(number, sample)
    yield "</section>\n"


def _sample(number: int, sample: ShownSample) -> Iterator[str]:
    yield f"<article>\n<h3><em>{number}</em> {escape(about_sample(sample))}</h3>\n"
    for block in sample.blocks:
        kind = "prefix" if block.is_prefix else "branch" if block.branch else "whole"
        yield f'<div class="{kind}">'
        if len(sample.blocks) > 1:
            yield f"<h4>{escape(about_block(sample, block))}</h4>"
        yield f"<pre>{''.join(_block(sample, block))}</pre></div>\n"
    yield "</article>\n"


def _block(sample: ShownSample, block: SampleBlock) -> Iterator[str]:
    runs = sample.runs_with_images(block)
    for number, (run, image) in enumerate(runs):
        if image is not None:
            yield _image(run, image)
        elif _is_between_frames(runs, number):
            yield f"<span>{_pieces(run).replace(chr(10), '↵')}</span>"  # so that frames are a strip
        else:
            tag = "mark" if run.kind == "supervised" else "span"
            yield f"<{tag}>{_pieces(run)}</{tag}>"


def _is_between_frames(runs: Sequence[tuple[TokenRun, ImageRef | None]], number: int) -> bool:
    """Whether a run is the line break between two frames of one video."""
    if not 0 < number < len(runs) - 1 or runs[number][0].text.strip():
        return False
    before, after = runs[number - 1][1], runs[number + 1][1]
    return before is not None and after is not None and before.frame is not None and before.file == after.file


def _pieces(run: TokenRun) -> str:
    if not run.tokens:
        return escape(run.text)
    return "".join(f"<i>{escape(piece)}</i>" for piece in run.pieces)


def _image(run: TokenRun, image: ImageRef) -> str:
    tokens = localized(f"{run.tokens:,} tokens" if run.tokens else "image")
    name = escape(name_of(image))
    try:
        source, size = thumbnail(image)
    except ImageError as error:
        return f"<b>{tokens} <small>{escape(localized(error))}</small></b>"
    return f'<b title="{name}"><img src="{source}" alt="{name}"> {tokens} <small>{size[0]}×{size[1]} px</small></b>'


def thumbnail(image: ImageRef) -> tuple[str, tuple[int, int]]:
    """An image as a thumbnail in a data URL, and its original (width, height). Raises ImageError."""
    pixels = read_image(image)
    size = pixels.size
    pixels.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    pixels.save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}", size


def write_page(shown: ShownRecords, out: Path) -> None:
    """Write the page atomically. Raises RunError when `out` cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page(shown))
    except OSError as error:
        raise RunError(f"{out}: {error.strerror or error}. Choose a writable place") from error
