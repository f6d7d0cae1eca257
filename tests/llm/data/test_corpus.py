"""A corpus is cached only after its images were checked; validation records are drawn by content."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from llm.config.schema import DataConfig, Source
from llm.data.corpus import CheckImage, Corpus, build_corpus
from llm.data.hold_out import hold_out
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from llm.model.pretrained import load_tokenizer


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> Encoder:
    tokenizer = load_tokenizer(str(tiny_llama))
    return Encoder(tokenizer, load_template("chatml", tokenizer), tokenizer.convert_tokens_to_ids("<image>"), 4)


def corpus_in(
    folder: Path, encoder: Encoder, count: int = 200, images: bool = False, check: CheckImage | None = None
) -> Corpus:
    """Records `what 0?`, `what 1?`, ...; with `images`, two consecutive records have the same one."""
    folder.mkdir()
    rows = [
        {
            "conversations": [
                {"from": "human", "value": ("<image>\n" if images else "") + f"what {n}?"},
                {"from": "gpt", "value": f"it is {n}"},
            ]
        }
        | ({"image": f"{n // 2}.png"} if images else {})
        for n in range(count)
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    sources = (Source(path="rows.json"),)
    return build_corpus(sources, DataConfig(sources=sources), encoder, folder / "cache", folder, check)


def test_every_image_is_checked_once_before_the_corpus_is_cached(encoder: Encoder, tmp_path: Path) -> None:
    """Twelve records have six images; the error names a bad one, and nothing is cached."""
    checked: list[str] = []
    bad = {"4.png"}

    def check(image: ImageRef) -> None:
        checked.append(Path(image.path).name)
        if checked[-1] in bad:
            raise ImageError("cut off", "Fetch it again", image.path, "image-broken")

    with pytest.raises(ImageError, match=r"4\.png: cut off"):
        corpus_in(tmp_path / "bad", encoder, 12, images=True, check=check)
    assert not list((tmp_path / "bad" / "cache").glob("*/corpus.json"))
    bad.clear()
    checked.clear()
    assert len(corpus_in(tmp_path / "mended", encoder, 12, images=True, check=check)) == 12
    assert sorted(checked) == [f"{number}.png" for number in range(6)]


def test_an_image_inside_a_record_is_written_and_checked(encoder: Encoder, tmp_path: Path) -> None:
    """It is checked in the temporary folder, and named in the final one."""
    seen: list[bytes] = []
    url = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
    asked = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": "it"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    sources = (Source(path="rows.jsonl"),)
    data = DataConfig(sources=sources)
    corpus = build_corpus(
        sources, data, encoder, tmp_path / "cache", tmp_path, lambda image: seen.append(Path(image.path).read_bytes())
    )
    assert seen == [b"pixels"] and Path(corpus.images[0][0]).read_bytes() == b"pixels"


@pytest.mark.parametrize("images", [False, True])
def test_the_split_does_not_depend_on_where_the_files_are(encoder: Encoder, tmp_path: Path, images: bool) -> None:
    here, there = (corpus_in(tmp_path / name, encoder, images=images) for name in ("here", "there"))
    assert here.digest() == there.digest()
    (chosen, held), (_, held_there) = hold_out(here, 0.2, 7), hold_out(there, 0.2, 7)
    assert (held == held_there).all() and 20 < len(held) < 60
    assert sorted([*chosen, *held]) == list(range(200))
    assert held.tolist() != hold_out(here, 0.2, 8)[1].tolist(), "another seed, another split"


def test_more_records_do_not_change_the_split_of_the_others(encoder: Encoder, tmp_path: Path) -> None:
    few, many = corpus_in(tmp_path / "few", encoder, 100), corpus_in(tmp_path / "many", encoder, 200)
    _, held = hold_out(few, 0.2, 0)
    _, held_of_many = hold_out(many, 0.2, 0)
    assert held.tolist() == held_of_many[held_of_many < 100].tolist()


def test_records_of_one_image_are_on_one_side(encoder: Encoder, tmp_path: Path) -> None:
    chosen, held = hold_out(corpus_in(tmp_path / "pairs", encoder, images=True), 0.2, 0)
    assert not set((np.asarray(chosen) // 2).tolist()) & set((np.asarray(held) // 2).tolist())


def test_warnings_of_reading_are_repeated_from_the_cache(
    encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "rationale": "So."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    sources = (Source(path="rows.jsonl"),)
    for _ in ("read", "from the cache"):
        caplog.clear()
        build_corpus(sources, DataConfig(sources=sources), encoder, tmp_path / "cache", tmp_path)
        assert [record.getMessage() for record in caplog.records if "field rationale of 1 row" in record.getMessage()]
