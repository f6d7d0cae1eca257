"""What each tracker stored, read without the code that stored it, and without the tracker's writing side."""

import io
import json
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml
from PIL import Image

Curves = dict[str, list[tuple[int, float]]]
BLOCK, HEADER = 32768, 7  # of LevelDB's log format, in which W&B and SwanLab write


@dataclass(slots=True)
class Stored:
    """Curves, answers and sizes of images by step, what is known of the recipe, and how the run ended."""

    curves: Curves = field(default_factory=dict)
    answers: dict[int, list[str]] = field(default_factory=dict)
    images: dict[int, tuple[int, int]] = field(default_factory=dict)
    settings: str = ""
    runs: set[str] = field(default_factory=set)
    state: str = ""

    def point(self, name: str, step: int, value: float) -> None:
        self.curves.setdefault(name, []).append((step, value))

    def answer(self, step: int, text: str) -> None:
        self.answers.setdefault(step, []).append(text)


def read_tensorboard(folder: Path) -> Stored:
    """With TensorBoard's own reader of a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found, reader = Stored(), EventAccumulator(str(folder / "tensorboard"), {"tensors": 0, "scalars": 0, "images": 0})
    reader.Reload()
    tags = reader.Tags()
    for tag in tags["scalars"]:
        found.curves[tag] = [(event.step, event.value) for event in reader.Scalars(tag)]
    for tag in tags["tensors"]:
        for event in reader.Tensors(tag):
            text = make_ndarray(event.tensor_proto).item().decode()
            if tag == "settings":
                found.settings += text
            else:
                found.answer(event.step, text)
    for tag in tags["images"]:
        for event in reader.Images(tag):
            found.images[event.step] = Image.open(io.BytesIO(event.encoded_image_string)).size
    found.runs = {"events"}
    return found


def read_wandb(folder: Path) -> Stored:
    """From the .wandb files of offline runs: records of protocol buffers, oldest file first."""
    from wandb.proto.wandb_internal_pb2 import Record

    found, staged = Stored(), dict[str, str]()
    for file in sorted((folder / "wandb" / "wandb").glob("offline-run-*/*.wandb")):
        for data in log_records(file):
            record = Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.runs.add(record.run.run_id)
                found.settings += json.dumps({one.key: one.value_json for one in record.run.config.update})
            elif kind == "artifact":
                staged |= {one.path: one.local_path for one in record.artifact.manifest.contents}
            elif kind == "history":
                row = {"/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
                _wandb_row(found, row, staged)
            elif kind == "exit":
                found.state = str(record.exit.exit_code)
    return found


def _wandb_row(found: Stored, row: dict[str, Any], staged: dict[str, str]) -> None:
    """A row holds figures of several kinds, each with the step of its kind. Tables lie in artifacts before the row."""
    for name, value in row.items():
        kind, _, figure = name.partition("/")
        if figure and figure != "step" and isinstance(value, int | float) and kind != "probes":
            found.point(name, row[f"{kind}/step"], value)
    if "probes/answers/path" in row:
        for _, image, answer in json.loads(Path(staged["probes/answers.table.json"]).read_text())["data"]:
            found.answer(row["probes/step"], answer)
            if image is not None:
                found.images[row["probes/step"]] = Image.open(staged[image["path"]]).size


def read_swanlab(folder: Path) -> Stored:
    """From the .swanlab files of offline runs: records of protocol buffers, oldest file first."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record

    found = Stored()
    for file in sorted((folder / "swanlab").glob("run-*/*.swanlab")):
        for data in log_records(file):
            record = Record()
            record.ParseFromString(data)
            if record.HasField("start"):
                found.runs.add(record.start.id)
            elif record.HasField("scalar"):
                found.point(record.scalar.key, record.scalar.step, record.scalar.value.number)
            elif record.HasField("media"):
                _swanlab_media(found, record.media, file.parent / "media")
            elif record.HasField("finish"):
                found.state = str(record.finish.state)
        found.settings += (file.parent / "files" / "config.yaml").read_text()
    return found


def _swanlab_media(found: Stored, media: Any, folder: Path) -> None:
    for item in media.value.items:
        if media.key.endswith("/answer"):
            found.answer(media.step, (folder / "text" / item.filename).read_text())
        else:
            found.images[media.step] = Image.open(folder / "image" / item.filename).size


def read_mlflow(folder: Path) -> Stored:
    """From the tables of its SQLite file, and the files of its artifacts."""
    found = Stored()
    with sqlite3.connect(folder / "mlflow" / "mlflow.db") as database:
        for key, step, value in database.execute("SELECT key, step, value FROM metrics ORDER BY step"):
            found.point(key, step, value)
        found.settings = json.dumps(dict(database.execute("SELECT key, value FROM params")))
        for run, state, uri in database.execute("SELECT run_uuid, status, artifact_uri FROM runs"):
            found.runs.add(run)
            found.state = state
            artifacts = Path(urlparse(uri).path)
    for file in sorted((artifacts / "probes").glob("step-*.json")):
        step = int(file.stem.removeprefix("step-"))
        found.answers[step] = [row["answer"] for row in json.loads(file.read_text())]
    for file in (artifacts / "images").glob("*.png"):
        found.images[int(file.name.split("+")[2])] = Image.open(file).size
    return found


def read_trackio(folder: Path) -> Stored:
    """From the tables of its SQLite file, and the files of its media."""
    found = Stored()
    with sqlite3.connect(folder / "trackio" / "eyegraft.db") as database:
        for run, step, text in database.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id"):
            found.runs.add(run)
            row = json.loads(text)
            for answer in row.pop("probes/answers", {"_value": []})["_value"]:
                found.answer(step, answer["answer"])
                if answer["image"] is not None:
                    found.images[step] = Image.open(folder / "trackio/media" / answer["image"]["file_path"]).size
            for name, value in row.items():
                found.point(name, step, value)
        found.settings = "".join(text.decode() for (text,) in database.execute("SELECT config FROM configs"))
    return found


READERS = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "swanlab": read_swanlab,
    "mlflow": read_mlflow,
    "trackio": read_trackio,
}


def log_records(file: Path) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, whose own header has 7 bytes; checksums are not looked at."""
    data, at, parts = file.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        parts += data[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):  # complete, or the last part of one
            yield parts
            parts = b""


def settings_of(stored: Stored) -> str:
    """The settings without quotes and blanks, which differ between trackers."""
    return "".join(character for character in stored.settings if character not in "\"'\\ \n")


def recipe_of(run: Path) -> Any:
    """The recipe of a run folder."""
    return yaml.safe_load((run / "config.yaml").read_text())
