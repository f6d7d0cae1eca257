"""Videos in runs of models made from parts: encoded as their frames, trained on, cached and answered about."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.data.corpus_writer import encode, prompted
from llm.encoding.encoder import Encoder
from llm.errors import ImageError, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message, VideoRef
from llm.formats.readers import read
from llm.train.metrics import read_metrics
from tests.videos import save_video, video_bytes
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.batch import collate_vlm
from vlm.model.record_encoder import encoder_of_run
from vlm.model.runs import open_run, train
from vlm.vision.images import read_image


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four records about two videos, one that came as bytes and one with an image beside it."""
    folder = tmp_path_factory.mktemp("clips")
    save_video(folder / "a.mp4")
    save_video(folder / "b.webm", frames=15, codec="libvpx-vp9", kind="webm")
    read_image(ImageRef.of_frame(str(folder / "a.mp4"), 0.5)).save(folder / "c.png")
    rows: list[dict[str, Any]] = [
        {"video": "a.mp4", "conversations": talk("<video>\nlong?", "two")},
        {"video": "a.mp4", "conversations": talk("<video>\nred?", "no")},
        {"video": "b.webm", "conversations": talk("<video>\nlong?", "three")},
        {"video": "b.webm", "image": "c.png", "conversations": talk("<video>\n<image>\nsame?", "no")},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def talk(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def video_recipe(llm: Path, tower: Path, clips: Path, out: Path, **changes: Any) -> VlmRunConfig:
    return recipe(
        llm, tower, clips, out, "pretrain", **({"data": {"max_length": 400}, "train": {"batch": 2}} | changes)
    )


def test_a_video_is_encoded_as_its_frames_as_images(tiny_llm: Path, clip: Path, clips: Path, tmp_path: Path) -> None:
    config = video_recipe(tiny_llm, clip, clips, tmp_path)
    encoder = encoder_of_run(config)
    records = list(read(Source(path=str(clips)), tmp_path))
    [sample] = encode(prompted(records[2], ""), encoder, config.data)
    video = clips.parent / "b.webm"
    frames = tuple(ImageRef(f"{video}#t={seconds}") for seconds in ("0.500", "1.500", "2.500"))
    assert sample.images == frames
    as_images = Conversation((Message("user", (*frames, "long?")), Message("assistant", ("three",))), records[2].place)
    [other] = encoder.encode(as_images)
    assert np.array_equal(sample.ids, other.ids) and np.array_equal(sample.labels, other.labels)
    [mixed] = encode(records[3], encoder, config.data)
    assert mixed.images == (*frames, ImageRef(str(clips.parent / "c.png")))
    fewer = encoder_of_run(config.model_copy(update={"data": with_frames(config, frames=2)}))
    assert len(fewer.encode(records[2])[0].images) == 2
    assert encoder.fingerprint() != fewer.fingerprint()


def with_frames(config: VlmRunConfig, **rule: Any) -> Any:
    return config.data.model_copy(update={"video": type(config.data.video)(**rule)})


def test_the_pixels_of_a_pack_are_those_of_the_frames(tiny_llm: Path, clip: Path, clips: Path, tmp_path: Path) -> None:
    config = video_recipe(tiny_llm, clip, clips, tmp_path)
    encoder = encoder_of_run(config)
    samples = [encode(record, encoder, config.data)[0] for record in read(Source(path=str(clips)), tmp_path)]
    from vlm.model.meta_model import meta_tower

    preprocess = meta_tower(config).preprocess
    assert encoder.image_id is not None
    batch = collate_vlm(samples, preprocess, encoder.image_id, encoder.image_tokens)
    distinct = list(dict.fromkeys(image for sample in samples for image in sample.images))
    expected = torch.stack([torch.from_numpy(preprocess(read_image(image))) for image in distinct])
    assert len(distinct) == 2 + 3 + 1 and torch.equal(batch.pixel_values, expected)


def test_a_run_learns_from_videos_and_answers_about_one(
    tiny_llm: Path, clip: Path, clips: Path, tmp_path: Path
) -> None:
    config = video_recipe(tiny_llm, clip, clips, tmp_path / "pt", train={"batch": 2, "epochs": 8})
    run = train(config, Path.cwd())
    rows = read_metrics(run, "train")
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert json.loads((run / "report.json").read_text())["images"] == 2 + 2 + 3 + 4
    cached = [file for file in (run.parent / ".features").rglob("*") if file.is_file() and len(file.name) == 64]
    assert len(cached) == 6, "each distinct frame, and the image, once"
    chat = open_run(run).chat_model
    asked = Message("user", (VideoRef(str(clips.parent / "a.mp4")), "long?"))
    embedded = Message("user", (VideoRef(data=(clips.parent / "a.mp4").read_bytes()), "long?"))
    answers = chat.answers([(asked,), (embedded,)], Sampling(max_new_tokens=4))
    assert answers[0] == answers[1]


def test_a_damaged_video_stops_a_run_with_the_record(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    data = video_bytes(frames=60, codec="ffv1", kind="matroska")
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.mkv").write_bytes(b"")
    for name, error in (("none.mkv", RecordError), ("cut.mkv", ImageError)):
        rows = tmp_path / f"{name}.jsonl"
        rows.write_text(json.dumps({"video": name, "conversations": talk("<video>\nQ", "A")}) + "\n")
        with pytest.raises(error, match=name):
            train(video_recipe(tiny_llm, clip, rows, tmp_path / name.replace(".", "-")), Path.cwd())


def test_a_text_run_refuses_a_video(tiny_llm: Path) -> None:
    from llm.encoding.chat_template import load_template
    from llm.model.pretrained import load_tokenizer

    tokenizer = load_tokenizer(str(tiny_llm))
    encoder = Encoder(tokenizer, load_template("chatml", tokenizer))
    record = Conversation((Message("user", (VideoRef("a.mp4"), "Q")), Message("assistant", ("A",))), place())
    with pytest.raises(RecordError, match="this model takes no videos") as caught:
        encoder.encode(record)
    assert caught.value.code == "video-in-run"


def place() -> Any:
    from llm.errors import Place

    return Place("rows.jsonl", 1)
