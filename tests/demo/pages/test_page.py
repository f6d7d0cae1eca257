"""The Chat, Compare and Data pages without a browser."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.model_library import ModelLibrary
from demo.pages.chat import answer, sampling_of
from demo.pages.compare import answers
from demo.pages.i18n import missing_text, text
from demo.pages.parts.choices import named_choice, opened_choices, update_choices
from demo.pages.parts.model_names import shown_author, shown_names
from demo.pages.parts.records import find_sources, load_records, sample_records, view_record
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.errors import DataError, RunError
from llm.formats.conversation import ImageRef, Message
from tests.demo.conftest import QUESTIONS, noise_image

LIMITS = Limits(waiting=1)

GREEDY = Sampling(max_new_tokens=12)

ON, OFF = "banana", "banana, adapters off"

SKIPPED = text("text_only", "en")


@pytest.fixture(scope="module")
def queue(library: ModelLibrary) -> GenerationQueue:
    return GenerationQueue(library, LIMITS.waiting)


def last(steps: Iterator[Any]) -> Any:
    return list(steps)[-1]


@pytest.mark.parametrize("shown", [(), (noise_image(3),)])
@pytest.mark.parametrize("names", [(ON, OFF), (OFF, ON)])
def test_each_pane_shows_the_answer_of_its_own_model(
    library: ModelLibrary, queue: GenerationQueue, names: tuple[str, str], shown: tuple[bytes, ...]
) -> None:
    for words in QUESTIONS:
        asked = (Message("user", (*(ImageRef(data=data) for data in shown), words)),)
        said = last(answers(library, queue, asked, names, GREEDY, SKIPPED)).cells
        by = dict(zip(names, (said[0], said[2]), strict=True))
        assert by[ON] == "BANANA"
        assert "BANANA" not in by[OFF] and by[OFF]
        assert ("adapters off" in said[1], "adapters off" in said[3]) == (names[0] == OFF, names[1] == OFF)


def test_a_text_model_is_not_asked_about_images(library: ModelLibrary, queue: GenerationQueue, roomy_llm: Path) -> None:
    asked = (Message("user", (ImageRef(data=noise_image(1)), "What is it?")),)
    said = last(answers(library, queue, asked, (str(roomy_llm), ON), GREEDY, SKIPPED)).cells
    assert said[0] == SKIPPED and said[2] == "BANANA"
    assert said[1].startswith(f"{roomy_llm.name} · written ") and "/" not in said[1], "no folder of the server"


def test_the_error_for_images_and_a_text_model(
    library: ModelLibrary, queue: GenerationQueue, roomy_llm: Path, uploads: Path
) -> None:
    (uploads / "a.png").write_bytes(noise_image(1))
    with pytest.raises(DataError, match="is a text-only model and the chat has images. Choose another model"):
        next(answer(library, queue, LIMITS, str(roomy_llm), asked("What?", uploads / "a.png"), [], "", GREEDY))


@pytest.mark.parametrize("name", [None, "gone"])
def test_the_error_for_a_missing_model(library: ModelLibrary, queue: GenerationQueue, name: str | None) -> None:
    with pytest.raises(RunError, match=r"not found under .*runs\. Train one"):
        next(answer(library, queue, LIMITS, name, asked("Hi?"), [], "", GREEDY))


def asked(text: str, *files: Path) -> dict[str, Any]:
    return {"text": text, "files": [str(file) for file in files]}


def test_closing_the_chats_iterator_ends_the_generation(library: ModelLibrary, queue: GenerationQueue) -> None:
    stream_text = answer(library, queue, LIMITS, OFF, asked("Say something."), [], "", Sampling(max_new_tokens=1500))
    assert next(stream_text)
    assert queue.length == 1
    stream_text.close()
    began = time.monotonic()
    while queue.length:
        assert time.monotonic() - began < 3, "the generation continued"
        time.sleep(0.01)


def test_sampling_of_the_chat_page() -> None:
    made = sampling_of(2, 0.5, 0.9, 40.0, 1.1, 64.0, 7.0, "###, END ,")
    assert made == Sampling(0.5, 40, 0.9, 1.1, 64, 7, ("###", "END"))


def test_refreshed_choices_leave_a_valid_selection_alone() -> None:
    """The visitor may have selected another one meanwhile."""
    assert "value" not in update_choices(["a", "b"], "b").constructor_args
    assert update_choices(["a", "b"], "gone").value == update_choices(["a", "b"], None).value == "a"
    assert update_choices([], "gone").constructor_args["value"] is None


def test_supervised_and_image_tokens_are_highlighted(library: ModelLibrary, bananas: Path) -> None:
    source = find_sources(library)[str(bananas / "bananas.json")]
    record = next(record for record in load_records(source) if record.images)
    shown = view_record(record, library[ON].encoder)
    supervised = "".join(text for text, kind in shown.spans if kind == "supervised")
    assert supervised == "BANANA<|im_end|>" and shown.supervised == 7
    assert [text for text, kind in shown.spans if kind == "image"] == ["16 tokens"] and shown.image_tokens == 16
    assert shown.images == record.images
    read = "".join(text for text, kind in shown.spans if kind is None)
    assert read.startswith("<|im_start|>") and QUESTIONS[0] in read and "BANANA" not in read


def test_the_comparison_begins_with_base_and_tuned(library: ModelLibrary, bananas: Path, tmp_path: Path) -> None:
    """The adapters off; else the run that training started from; else the LLM. A named model comes first otherwise."""
    assert library.comparison() == (OFF, ON)
    weights = library.weights[ON]
    assert weights.sees_images and not library.weights[next(iter(library))].sees_images
    for name in ("begun", "tuned"):
        shutil.copytree(bananas / "runs/banana", tmp_path / name)
        recipe = tmp_path / name / "config.yaml"
        text = re.sub(r"kind: lora", "kind: full", recipe.read_text())
        recipe.write_text(
            re.sub(r"^from: .*$", "", text, flags=re.M) + (f"\nfrom: {tmp_path}/begun\n" * (name == "tuned"))
        )
    os.utime(tmp_path / "tuned", (2e9, 2e9))  # the newest
    assert ModelLibrary(tmp_path).comparison() == ("begun", "tuned")
    shutil.rmtree(tmp_path / "begun")
    base, tuned = ModelLibrary(tmp_path).comparison()
    assert base is not None and base.endswith("(base)") and tuned == "tuned"
    assert ModelLibrary(tmp_path / "none").comparison() == (None, None)


def test_random_records_are_reproducible(library: ModelLibrary, bananas: Path) -> None:
    source = Source(path=str(bananas / "bananas.json"))
    first = [record.place for record in sample_records(source, 3, 0)]
    assert first == [record.place for record in sample_records(source, 3, 0)] and len(set(first)) == 3
    assert first != [record.place for record in sample_records(source, 3, 1)]
    assert len(sample_records(source, 99, 0)) == 24


def test_a_dropdown_opens_on_the_newest_unless_a_visitor_has_chosen() -> None:
    names = {name: name for name in ("newest", "older", "base")}
    assert opened_choices(names, "base", "base", "newest").value == "newest", "as the page was built"
    assert opened_choices(names, "gone", "gone", "newest").value == "newest"
    assert opened_choices(names, None, None, "newest").value == "newest"
    for current, built in (("older", "base"), ("newest", "newest"), ("newest", "base")):
        assert "value" not in opened_choices(names, current, built, "newest").constructor_args
    assert "value" not in opened_choices({}, None, None, None).constructor_args


def test_what_to_do_without_a_trained_model() -> None:
    assert missing_text(True, False, "en") == "", "eyegraft web was given a model"
    assert "make quickstart" in missing_text(False, False, "en")
    for any_model in (True, False):
        for lang, words in (("en", "Train a model"), ("zh", "训练模型")):
            assert f'<a href="/train">{words}</a>' in missing_text(any_model, True, lang)
    assert missing_text(True, True, "en") != missing_text(False, True, "en")


def test_an_address_names_a_file_by_its_name_or_its_id() -> None:
    names = ["a.jsonl (file-1)", "b.jsonl (file-2)"]
    assert named_choice(names, "file-2") == named_choice(names, "b.jsonl (file-2)") == names[1]
    assert [named_choice(names, wanted) for wanted in ("", "file", "le-1", "2)", "gone")] == [None] * 5


def test_what_tells_models_apart_comes_first() -> None:
    """A phone shows only the beginning; the steps and adapters of one job, and jobs of one name, differ."""
    job = "ft:smollm2:xiaotu-2:561641ff8c96"
    names = [job, f"{job}, adapters off", f"{job}:ckpt-step-10", "runs/a", "runs/a, adapters off"]
    assert list(shown_names(names, "en").values()) == [
        "xiaotu-2 (trained) \u00b7 smollm2 \u00b7 ff8c96",
        "xiaotu-2, adapters off \u00b7 smollm2 \u00b7 ff8c96",
        "xiaotu-2 (step 10) \u00b7 smollm2 \u00b7 ff8c96",
        *names[3:],
    ]
    chinese = shown_names(names, "zh")
    assert chinese[names[1]].startswith("xiaotu-2，不带适配器（基座） ") and chinese[names[0]].startswith(
        "xiaotu-2（训练后） "
    )
    alike = [f"{job}:ckpt-step-10, adapters off", names[1]]
    assert list(shown_names(alike, "en")) == list(shown_names(alike, "en").values()) == alike
    assert shown_author("a \u00b7 adapters off", "zh") == "a \u00b7 不带适配器（基座）"
