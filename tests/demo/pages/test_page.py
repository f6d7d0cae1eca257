"""The pages without a browser: comparison, library, chat history, runs, records, probes and texts."""

import csv
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import probes
from demo.model_library import ModelLibrary, ModelWeights
from demo.pages.chat import answer, sampling_of
from demo.pages.compare import answers
from demo.pages.i18n import HEADERS, LABELS, PROBE_CELLS, TEXTS, duration, probe_cells, state_text, text
from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import conversation
from demo.pages.parts.choices import update_choices
from demo.pages.parts.curves import draw_curves
from demo.pages.parts.records import find_sources, load_records, sample_records, view_record
from demo.pages.parts.run_status import find_runs, read_report, read_run, stamp, state_of
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, ImageError, Place, RecordError, RunError
from llm.formats.conversation import Conversation, ImageRef, Message
from tests.demo.conftest import QUESTIONS, noise_image

LIMITS = Limits(waiting=1)
GREEDY = Sampling(max_new_tokens=12)
ON, OFF = "banana", "banana, adapters off"
SKIPPED = text("text_only", "en")


@pytest.fixture(scope="module")
def library(bananas: Path, roomy_llm: Path) -> ModelLibrary:
    return ModelLibrary(bananas / "runs", [str(roomy_llm)])


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
        said = last(answers(library, queue, asked, names, GREEDY, SKIPPED))
        by = dict(zip(names, (said[0], said[2]), strict=True))
        assert by[ON] == "BANANA"
        assert "BANANA" not in by[OFF] and by[OFF]
        assert ("adapters off" in said[1], "adapters off" in said[3]) == (names[0] == OFF, names[1] == OFF)


def test_without_its_adapter_a_model_answers_as_its_base(library: ModelLibrary, bananas: Path) -> None:
    """Token for token the answer of the model whose adapter was never trained."""
    from vlm.model.runs import open_run

    untuned = open_run(bananas / "runs" / "banana", base=True)
    tuned = open_run(bananas / "runs" / "banana")
    with_projector = dict(tuned.model.named_parameters()) | dict(tuned.model.named_buffers())
    own = dict(untuned.model.named_parameters()) | dict(untuned.model.named_buffers())
    for name, tensor in own.items():
        if ".projector." in f".{name}" or "multi_modal_projector" in name:
            tensor.data.copy_(with_projector[name])
    for images in ((), (ImageRef(data=noise_image(5)),)):
        asked = (Message("user", (*images, "Who are you?")),)
        assert library[OFF].answer(asked, GREEDY) == untuned.chat_model.answer(asked, GREEDY)
    assert library[ON].answer(question("Who are you?"), GREEDY) == "BANANA", "the adapter is on again afterwards"


def test_a_text_model_is_not_asked_about_images(library: ModelLibrary, queue: GenerationQueue, roomy_llm: Path) -> None:
    asked = (Message("user", (ImageRef(data=noise_image(1)), "What is it?")),)
    said = last(answers(library, queue, asked, (str(roomy_llm), ON), GREEDY, SKIPPED))
    assert said[0] == SKIPPED and said[2] == "BANANA"
    assert str(roomy_llm) in said[1]


def test_the_library_lists_every_checkpoint_with_and_without_adapters(
    library: ModelLibrary, bananas: Path, roomy_llm: Path
) -> None:
    steps = sorted(folder.name for folder in (bananas / "runs/banana/checkpoints").glob("step-*"))
    older = f"banana @ {steps[0]}"
    assert list(library) == [str(roomy_llm), ON, older, OFF, f"{older}, adapters off", f"{roomy_llm} (base)"]
    assert library.weights[older] == ModelWeights(bananas / "runs/banana", steps[0])
    described = {library.weights[name].describe() for name in library}
    assert len(described) == len(library) - 1, "the base and the named model are the same; all others differ"
    with pytest.raises(ConfigError, match="neither a run with a checkpoint nor a model folder"):
        ModelLibrary(bananas / "runs", [str(bananas)])


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


def test_one_model_in_memory_answers_with_and_without_adapters(library: ModelLibrary) -> None:
    assert library[ON].model is library[OFF].model
    assert len(library._open) <= 2


def test_retrained_weights_are_loaded_again(library: ModelLibrary, roomy_llm: Path) -> None:
    name = str(roomy_llm)
    before = library[name]
    assert library[name] is before
    config = roomy_llm / "config.json"
    os.utime(config, (time.time() + 5, time.time() + 5))
    assert library[name] is not before


def test_a_run_with_an_unknown_recipe_key_is_skipped(library: ModelLibrary, bananas: Path) -> None:
    old = bananas / "runs" / "old"
    old.mkdir()
    (old / "config.yaml").write_text("name: old\nstage: sft\nno_such_key: 1\n")
    assert ON in library.refresh() and not any(name.startswith("old") for name in library)
    (old / "config.yaml").unlink()
    old.rmdir()


def asked(text: str, *files: Path) -> dict[str, Any]:
    return {"text": text, "files": [str(file) for file in files]}


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gradio's upload folder."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def test_history_is_converted_from_both_of_gradios_forms(uploads: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(noise_image(1))
    image = ImageRef(data=noise_image(1))
    browser = [
        {"role": "user", "content": [{"type": "file", "file": {"path": str(file)}}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
    ]
    client = [{"role": "user", "content": {"path": str(file)}}, {"role": "user", "content": "What?"}]
    client += [{"role": "assistant", "content": "A dog."}]
    expected = (
        Message("system", ("Be brief.",)),
        Message("user", (image, "What?")),
        Message("assistant", ("A dog.",)),
        Message("user", ("Sure?",)),
    )
    for history in (browser, client):
        assert conversation(history, asked("Sure?"), " Be brief. ", LIMITS) == expected


def test_an_answer_stopped_at_once_leaves_one_question() -> None:
    history = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": [{"type": "text", "text": ""}]}]
    assert conversation(history, asked("Two?"), "", LIMITS) == (Message("user", ("One?", "\n", "Two?")),)


def test_a_file_that_was_not_uploaded_is_rejected(uploads: Path, bananas: Path) -> None:
    for path in (bananas / "1.png", uploads / ".." / "x.png", uploads, Path(), Path("/etc/passwd")):
        with pytest.raises(ImageError, match="an image that was not uploaded to this server"):
            conversation([], asked("What?", path), "", LIMITS)


def test_errors_for_an_upload_do_not_contain_its_path(uploads: Path, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(b"not an image")
    with pytest.raises(ImageError) as caught:
        conversation([], asked("What?", file), "", LIMITS)
    assert "secret" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    file.write_bytes(noise_image(1))
    with pytest.raises(RecordError, match="more than 4 images"):
        conversation([], asked("What?", *[file] * 5), "", LIMITS)


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


# Runs -----------------------------------------------------------------------------------------------------------------


def test_the_status_of_a_run_from_its_folder(bananas: Path) -> None:
    assert find_runs(bananas / "runs") == (["banana"], {})
    view = read_run(bananas / "runs" / "banana")
    assert view.state.finished and view.state.step == view.state.total == 80
    drawn = draw_curves(view.rows).axes[0].lines[0].get_xydata()
    rows = [row for row in view.rows if row["kind"] == "train"]
    assert len(rows) == 16 and np.array_equal(drawn, [(row["step"], row["loss"]) for row in rows])
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert ["steps", "80"] in view.report and "plan" in view.tail


def rows(*steps: tuple[int, float]) -> list[dict[str, Any]]:
    plan = [{"kind": "plan", "step": 0, "steps": 100, "time": 0.0}]
    return plan + [{"kind": "train", "step": step, "loss": 1.0, "time": when} for step, when in steps]


def test_the_remaining_time_uses_the_latest_speed(tmp_path: Path) -> None:
    """Ten steps took 10 s at first and 20 s recently: the latter counts."""
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    now = (tmp_path / "metrics.jsonl").stat().st_mtime + 7
    lately = rows((10, 10.0), (20, 20.0), (30, 40.0), (40, 60.0), (50, 80.0), (60, 100.0))
    state = state_of(tmp_path, lately, now)
    assert (state.step, state.total, state.finished, state.silent) == (60, 100, False, False)
    assert state.left_seconds == pytest.approx(40 * 80 / 40)
    assert state.silent_seconds == pytest.approx(7, abs=0.1)
    assert state_of(tmp_path, lately, now + 1000).silent
    assert state_of(tmp_path, rows((10, 0.0), (20, 500.0)), now + 1000).silent is False, "its lines are far apart"
    assert state_of(tmp_path, rows(), now).left_seconds is None


def test_curves_with_validation_and_of_a_new_run() -> None:
    train = {"kind": "train", "step": 1, "loss": 0.0, "lr": 1e-3, "tokens_per_s": 9.0, "memory_gib": 1.0}
    axes = draw_curves([train, {"kind": "validation", "step": 1, "loss": 2.0}]).axes[0]
    assert [len(line.get_xydata()) for line in axes.lines] == [1, 1] and axes.get_yscale() == "linear"
    assert draw_curves([{"kind": "plan", "step": 0}]).axes[0].lines[0].get_xydata().shape == (0, 2)


def test_the_status_of_a_finished_evaluation(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"vqa_accuracy": 0.9}')
    state = read_run(tmp_path).state
    assert (state.finished, state.step, state.total) == (True, 0, None)
    assert state_text(state, "en") == "**finished**"


def test_the_stamp_changes_with_the_files(tmp_path: Path) -> None:
    before = stamp(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    written = stamp(tmp_path)
    os.utime(tmp_path / "metrics.jsonl", (1, 1))
    assert before != written != stamp(tmp_path) == stamp(tmp_path)


def test_state_text() -> None:
    from demo.pages.parts.run_status import RunState

    running = RunState(60, 1000, False, 7.0, False, 3725.0)
    assert state_text(running, "en") == "**running** · step 60 / 1,000 · last update 0:07 ago · about 1:02:05 left"
    assert "预计还需 1:02:05" in state_text(running, "zh")
    assert state_text(RunState(1000, 1000, True, 9.0, True, None), "en") == "**finished** · step 1,000 / 1,000"
    assert duration(59.6) == "1:00"


def test_nested_metrics_get_dotted_names(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text(json.dumps({"vqa": 0.9, "of": {"open": 0.8}, "answers": [1]}))
    assert read_report(tmp_path) == [["vqa", "0.9"], ["of.open", "0.8"]]


@pytest.mark.parametrize("table", [LABELS, TEXTS, PROBE_CELLS])
def test_every_text_has_both_languages(table: dict[str, tuple[str, str]]) -> None:
    """English texts are ASCII; Chinese texts have Chinese characters and full-width punctuation."""
    for key, (english, chinese) in table.items():
        if key in SAME:
            assert english == chinese
            continue
        assert english.isascii() and any("\u4e00" <= char <= "\u9fff" for char in chinese), key
        assert english.count("{") == chinese.count("{"), key
        assert not re.search(r"[\u4e00-\u9fff][,:;()]|[,:;()][\u4e00-\u9fff]", chinese), f"{key}: half-width mark"
    assert all(len(english) == len(chinese) for english, chinese in HEADERS.values())


SAME = {"title", "top_p"}


def test_cells_of_the_probe_tables_are_translated_and_answers_are_not() -> None:
    result = probes.ProbeResult(probes.ProbeQuestion("image", "right", ("no",), "right"), "no", "general")
    assert probe_cells([result.cells()], "zh") == [["图片", "right", "原图", "no", "no", "是", "general", "否"]]
    assert probe_cells([["leading", "", "1 / 2", "2 / 2"]], "zh") == [["诱导", "", "1 / 2", "2 / 2"]]
    assert probe_cells([result.cells()], "en")[0][2] == "own"


# Data -----------------------------------------------------------------------------------------------------------------


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


def test_random_records_are_reproducible(library: ModelLibrary, bananas: Path) -> None:
    source = Source(path=str(bananas / "bananas.json"))
    first = [record.place for record in sample_records(source, 3, 0)]
    assert first == [record.place for record in sample_records(source, 3, 0)] and len(set(first)) == 3
    assert first != [record.place for record in sample_records(source, 3, 1)]
    assert len(sample_records(source, 99, 0)) == 24


# Probes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expect", "hit"),
    [
        ("It is 7.", "7", True),
        ("17", "7", False),
        ("I know", "no", False),
        ("No!", "no", True),
        ("I am Iris, yes", "iris", True),
        ("我是小艾助手", "小艾", True),
        ("100摄氏度", "100", True),
        ("", "x", None),
    ],
)
def test_a_hit_is_a_complete_word_of_the_answer(answer: str, expect: str, hit: bool | None) -> None:
    assert probes.ProbeQuestion("general", "?", (expect,)).hit(answer) is hit
    assert probes.ProbeQuestion("identity", "?").hit("anything") is None


def test_image_questions_have_three_variants(bananas: Path) -> None:
    records = load_records(Source(path=str(bananas / "bananas.json")))
    made = probes.image_probes(records)
    assert [probe.variant for probe in made] == ["right", "blank", "other"] * 3
    for index in range(3):
        right, blank, other = (probe.image for probe in made[3 * index : 3 * index + 3])
        assert len({right, blank, other}) == 3 and right and right.path.endswith(f"{index}.png")
    assert {probe.expect for probe in made} == {("BANANA",)}
    assert probes.image_probes(records[:2])[-1].variant == "blank", "without other images there is no third variant"


def test_the_table_counts_hits_by_kind(library: ModelLibrary) -> None:
    listed = [
        *probes.text_probes("Banana")[:2],
        probes.ProbeQuestion("image", "What?", ("BANANA",), "right", probes.blank()),
    ]
    done = list(probes.ask(library[OFF], library[ON], listed, GREEDY))
    assert probes.summary(done) == [["identity", "", "0 / 2", "2 / 2"], ["image", "right", "0 / 1", "1 / 1"]]
    unnamed = list(probes.ask(library[OFF], library[ON], probes.text_probes("")[:1], GREEDY))
    assert probes.summary(unnamed) == [["identity", "", "", ""]]


def test_downloads_escape_formulas_and_markup() -> None:
    evil = probes.ProbeResult(
        probes.ProbeQuestion("general", "=1+1", ("zebra",)), "=HYPERLINK(1)", "a|b <img src=x>\n| c |"
    )
    lines = list(csv.reader(io.StringIO(probes.as_csv([evil], "base", "=tuned"))))
    assert lines[0] == ["kind", "question", "image", "expected", "base", "hit", "'=tuned", "hit"]
    assert lines[1] == ["general", "'=1+1", "", "zebra", "'=HYPERLINK(1)", "no", "a|b <img src=x>\n| c |", "no"]
    text = probes.as_markdown([evil], "base", "tuned")
    assert "<img" not in text and "a\\|b &lt;img src=x> \\| c \\|" in text
    rows = [line for line in text.splitlines() if line.startswith("| general")]
    assert len(rows) == 2 and rows[1].replace("\\|", "").count("|") == len(probes.HEADERS) + 1


def test_an_image_question_of_a_record_with_a_system_message() -> None:
    record = Conversation(
        (Message("system", ("S",)), Message("user", (ImageRef("a.png"), "Q")), Message("assistant", ("A",))), Place("f")
    )
    assert probes.image_probes([record])[0].question == "Q"


def test_only_valid_parts_of_a_stored_chat_are_restored(tmp_path: Path, monkeypatch: Any) -> None:
    """The browser may send any path: only uploads are restored, and no more turns than the limit."""
    monkeypatch.setattr("demo.server.uploads.get_upload_folder", lambda: str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    upload, secret = tmp_path / "uploads/1.png", tmp_path / "secret.png"
    for file in (upload, secret):
        file.write_bytes(noise_image(1))
    (tmp_path / "uploads/link.png").symlink_to(secret)
    names = [
        str(upload),
        str(secret),
        "/etc/passwd",
        f"{tmp_path}/uploads/../secret.png",
        f"{tmp_path}/uploads/link.png",
    ]
    shown: list[Any] = [
        {"type": "file", "file": {"path": name}}
        for name in [*names, f"{tmp_path}/uploads/gone.png", "a\0b", "\ud800", 7]
    ]
    said = [
        {"role": "user", "content": [*shown, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A"},
    ]
    restored = restore(said, LIMITS)
    assert restored == [
        {"role": "user", "content": [{"path": str(upload)}, "What?"]},
        {"role": "assistant", "content": ["A"]},
    ]
    asked = conversation(restored, {"text": "And now?"}, "", LIMITS)
    assert [message.text for message in asked] == ["What?", "A", "And now?"]
    assert asked[0].parts[0] == ImageRef(data=noise_image(1))
    turns: list[Any] = [None, 3, "x", {"role": "user"}, [1, None, []], [{"role": "system", "content": "x"}]]
    for junk in (*turns, [{"role": "user"}]):
        assert restore(junk, LIMITS) == []
    assert len(restore([said[1]] * 1000, LIMITS)) == 2 * LIMITS.messages
    assert restore([{"role": "user", "content": ["x" * LIMITS.text, "y"]}], LIMITS) == []
    assert len(restore([{"role": "user", "content": ["x"] * 1000}], LIMITS)[0]["content"]) < 100
