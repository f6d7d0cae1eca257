"""TensorBoard: event files in the run folder, written without TensorFlow and torch. Nothing leaves the machine."""

import io
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import yaml
from PIL import Image

from llm.track.tracker import Answer, Answers, Point, TrackedRun, TrackerKind


class TensorboardEvents:
    """Appends a file of events to the run's folder; TensorBoard shows all files of a folder as one curve."""

    def __init__(self, run: TrackedRun) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(run.folder))
        if run.new:
            settings = yaml.safe_dump(dict(run.settings), allow_unicode=True, sort_keys=False)
            self._write(0, None, [_text("settings", f"```yaml\n{settings}```")])
            self._writer.flush()

    def log(self, points: Sequence[Point]) -> None:
        """Store figures; TensorBoard holds them in fp32."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for point in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            self._write(point.step, point.time, values)
        self._writer.flush()

    def log_answers(self, answers: Answers) -> None:
        """Store each answer as Markdown, and its image, under `probes/N`."""
        for number, answer in enumerate(answers.answers, 1):
            self._write(answers.step, answers.time, list(_answer(f"probes/{number}", answer)))
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Close the file; TensorBoard has no states of runs."""
        self._writer.close()

    def _write(self, step: int, seconds: float | None, values: "list[Any]") -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=seconds, step=step, summary=Summary(value=values)))


def _answer(tag: str, answer: Answer) -> "Iterator[Any]":
    from tensorboard.compat.proto.summary_pb2 import Summary

    yield _text(tag, f"**{answer.prompt}**\n\n{answer.text}")
    if answer.image is None:
        return
    width, height = answer.image.size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=_png(answer.image))
    yield Summary.Value(tag=f"{tag}/image", image=image)


def _text(tag: str, text: str) -> "Any":
    """A summary that TensorBoard's text plugin shows."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _problem() -> str:
    import_module("tensorboard.summary.writer.event_file_writer")
    return ""


TENSORBOARD = TrackerKind("tensorboard", "tensorboard", TensorboardEvents, _problem)
