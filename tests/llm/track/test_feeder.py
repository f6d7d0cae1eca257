"""The feeder hands every line on once, in order, whatever is killed, resumed or raised in between."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.errors import RunError
from llm.track.feeder import Feeder
from llm.track.progress import read_progress
from llm.track.tracker import Answers, Point, TrackedRun, TrackerKind
from llm.track.trackers import TRACKERS
from tests.trackers.run_folder import FIRST, answer_probes, make_run, metrics, train_line, write_metrics

NAME = "tensorboard"


class Recorder:
    """A tracker that remembers what it got; it raises, storing nothing, in the calls whose numbers are `failing`."""

    def __init__(self, failing: Sequence[int] = ()) -> None:
        self.runs: list[TrackedRun] = []
        self.got: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        self.answers: list[Answers] = []
        self.closed: list[bool] = []
        self.known: list[bool] = []  # whether the steps of a call were noted as sent before it
        self._calls, self._failing = 0, failing

    def open(self, run: TrackedRun) -> "Recorder":
        self.runs.append(run)
        return self

    def log(self, points: Sequence[Point]) -> None:
        self._fail()
        progress = read_progress(self.runs[0].folder.parent.parent, NAME)
        assert progress is not None
        for point in points:
            kind = next(iter(point.values)).partition("/")[0]
            self.got.append((kind, point.step))
            self.known.append(progress.sent[kind] >= point.step)
        self.sizes.append(len(points))

    def log_answers(self, answers: Answers) -> None:
        self._fail()
        self.got.append(("answers", answers.step))
        self.answers.append(answers)

    def close(self, finished: bool) -> None:
        self.closed.append(finished)

    def _fail(self) -> None:
        self._calls += 1
        if self._calls in self._failing:
            raise ConnectionError("the network is down")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with pytest.MonkeyPatch.context() as patch:
        yield install(patch, Recorder())


def install(patch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    patch.setitem(TRACKERS, NAME, TrackerKind("os", "none", recorder.open, str))
    return recorder


def test_lines_are_sent_once_in_order_and_answers_after_their_step(tmp_path: Path, recorder: Recorder) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    write_metrics(run, metrics(6, FIRST))
    answer_probes(run, 0, 5, 10)
    feeder = Feeder(NAME, run)
    feeder.hand_on()
    train = [("train", step) for step in range(1, 6)]
    five = [("validation", 5), ("probe", 5), ("answers", 5)]
    assert recorder.got == [("answers", 0), *train, *five, ("train", 6)], "step 10 is not reached"
    write_metrics(run, metrics(10, FIRST))
    feeder.hand_on()
    feeder.hand_on()
    assert recorder.got[10:] == [*[("train", step) for step in range(7, 11)], ("validation", 10), ("probe", 10),
                                 ("answers", 10)]  # fmt: skip
    assert all(recorder.known), "a process killed in the call would send these lines again"
    assert [answer.text for answer in recorder.answers[1].answers] == ["answer 5", "a fox"]
    feeder.close(True)
    assert recorder.closed == [True]


def test_the_tracker_is_opened_with_the_first_line_and_as_the_same_run_again(
    tmp_path: Path, recorder: Recorder
) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    feeder = Feeder(NAME, run)
    feeder.hand_on()
    assert recorder.runs == [] and read_progress(run, NAME) is None
    for until in (3, 6):
        write_metrics(run, metrics(until, FIRST))
        Feeder(NAME, run).hand_on()
    first, second = recorder.runs
    assert (first.name, first.new, second.new, first.id == second.id) == ("my-run", True, False, True)
    assert first.settings["recipe"]["optim"] == {"lr": 0.001} and first.settings["data"] == {"records": 24}
    Feeder(NAME, run).hand_on()
    assert len(recorder.runs) == 2, "there was nothing new"


def test_many_lines_are_sent_in_parts(tmp_path: Path, recorder: Recorder) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    write_metrics(run, [train_line(step, 1.0) for step in range(1, 251)])
    Feeder(NAME, run).hand_on()
    assert recorder.sizes == [100, 100, 50] and recorder.got == [("train", step) for step in range(1, 251)]


def test_what_raised_is_sent_again_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    answer_probes(run, 5)
    with pytest.MonkeyPatch.context() as patch:
        recorder = install(patch, Recorder(failing=(2, 3)))
        write_metrics(run, metrics(7, FIRST))
        for _ in range(2):  # the answers, twice
            with pytest.raises(ConnectionError):
                Feeder(NAME, run).hand_on()
        before = list(recorder.got)
        Feeder(NAME, run).hand_on()
    assert before == [*[("train", step) for step in range(1, 6)], ("validation", 5), ("probe", 5)]
    assert recorder.got[7:] == [("answers", 5), ("train", 6), ("train", 7)]


def test_a_file_that_another_trainer_may_have_cut_off_is_left_to_its_feeder(tmp_path: Path, recorder: Recorder) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    write_metrics(run, metrics(3, FIRST))
    feeder = Feeder(NAME, run)
    os.utime(run / "writer.lock", ns=(1, 1))
    feeder.hand_on()
    assert recorder.got == []
    Feeder(NAME, run).hand_on()
    assert len(recorder.got) == 3


def test_answers_without_a_readable_image_or_file(tmp_path: Path, recorder: Recorder) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    answer_probes(run, 0, 5)
    (tmp_path / "red.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (run / "samples" / "step-000000.json").write_text("[{")
    write_metrics(run, metrics(5, FIRST))
    Feeder(NAME, run).hand_on()
    assert [(found.step, [answer.image for answer in found.answers]) for found in recorder.answers] == [
        (5, [None, None])
    ]


def test_a_damaged_note_of_what_was_sent_is_refused(tmp_path: Path, recorder: Recorder) -> None:
    run = make_run(tmp_path)
    (run / "track").mkdir()
    (run / "track" / f"{NAME}.json").write_text('{"id": "1"')
    with pytest.raises(RunError, match=rf"{NAME}.json: cannot be read: .* Delete it to begin a new run in {NAME}"):
        Feeder(NAME, run)


@settings(max_examples=30)
@given(
    lives=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(1, 3)), min_size=1, max_size=6),
    failing=st.sets(st.integers(1, 20), max_size=6),
)
def test_any_history_of_kills_resumes_and_failures_is_one_curve(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, int, int]], failing: set[int]
) -> None:
    """Each life resumes some steps before its end, trains some more, and its feeder looks a number of times."""
    run = make_run(tmp_path_factory.mktemp("history"))
    (run / "track").mkdir()
    losses, reached, most = FIRST * 10, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        recorder = install(patch, Recorder(failing=sorted(failing)))
        for back, steps, looks in lives:
            reached = max(0, reached - back)
            write_metrics(run, metrics(reached, losses))
            feeder = Feeder(NAME, run)
            for look in range(1, looks + 1):
                write_metrics(run, metrics(reached + steps * look // looks, losses))
                with suppress(ConnectionError):
                    feeder.hand_on()
                    continue
                feeder = Feeder(NAME, run)
            reached += steps
            most = max(most, reached)
        for _ in range(len(failing) + 1):
            with suppress(ConnectionError):
                Feeder(NAME, run).hand_on()
    sent = [step for kind, step in recorder.got if kind == "train"]
    assert sent == sorted(set(sent)), "a step twice, or out of order"
    assert set(range(1, reached + 1)) <= set(sent) <= set(range(1, most + 1))
