"""Pipes, devices and files without end, named as data, recipes or models: refused by name, and never waited for."""

import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pyarrow.parquet  # noqa: F401  # that its import is not what takes long
import pytest

from llm.chat.identity_eval import read_identity
from llm.config.schema import Source
from llm.config.yaml_loader import load_yaml
from llm.errors import ConfigError, DataError, EyegraftError, ModelError, RecordError, RunError
from llm.files import bounded_lines, regular_files
from llm.files.untrusted_json import read_object
from llm.formats.readers import read
from llm.model.pretrained import load_tokenizer
from llm.rows.files import raw_rows, read_rows
from llm.rows.json_rows import json_records
from llm.train.metrics import read_metrics
from llm.train.provenance import base_digest

SECONDS = 10  # nothing here takes one; an open that waits for a pipe takes all


@pytest.fixture(autouse=True)
def _nobody_waits(tmp_path: Path) -> Iterator[None]:
    """Wakes who waits: a reader of a pipe by a writer that comes late, since a library's open hears no signal."""

    def wake(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits, or reads without an end")

    late = threading.Timer(SECONDS, _write_nothing, (tmp_path,))
    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(SECONDS)
    late.start()
    yield
    late.cancel()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _write_nothing(folder: Path) -> None:
    for path in folder.rglob("*"):
        if stat.S_ISFIFO(path.lstat().st_mode):
            os.close(os.open(path, os.O_RDWR))


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def sparse(path: Path, size: int = 1 << 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv", "parquet", "txt", "md"])
def test_data_that_is_a_pipe(suffix: str, tmp_path: Path) -> None:
    data = pipe(tmp_path / f"data.{suffix}")
    with pytest.raises(DataError, match=f"data.{suffix}: .*named pipe"):
        list(read_rows(data))
    with pytest.raises(DataError, match="named pipe"):
        list(read(Source(path=str(data)), Path()))


def test_a_pipe_in_a_folder_of_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    pipe(tmp_path / "b.jsonl")
    with pytest.raises(DataError, match="b.jsonl: .*named pipe"):
        list(read_rows(tmp_path))


def test_a_device_as_data_raises(tmp_path: Path) -> None:
    (tmp_path / "endless.jsonl").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="endless.jsonl: .*device"):
        list(read_rows(tmp_path / "endless.jsonl"))


def test_a_link_to_data_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "here.jsonl").symlink_to(tmp_path / "there.jsonl")
    assert [row for _, row in read_rows(tmp_path / "here.jsonl")] == [{"text": "x"}]


@pytest.mark.parametrize(
    "use",
    [
        lambda path: load_yaml(path),
        lambda path: read_identity(path, path, path),
        lambda path: base_digest(path.parent, path.parent / "cache"),
        lambda path: load_tokenizer(str(path.parent)),
        lambda path: read_metrics(path.parent),
    ],
    ids=["recipe", "questions", "weights", "tokenizer", "metrics"],
)
def test_pipes_in_other_places_raise(use: Callable[[Path], object], tmp_path: Path) -> None:
    for name in ("recipe.yaml", "pytorch_model.bin", "tokenizer_config.json", "tokenizer.json", "metrics.jsonl"):
        pipe(tmp_path / name)
    with pytest.raises(EyegraftError, match="named pipe"):
        use(tmp_path / "recipe.yaml")


def test_a_large_recipe_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 1,099,511,627,776 bytes or more, at most 1,048,576 are read"):
        load_yaml(sparse(tmp_path / "recipe.yaml"))
    (tmp_path / "deep.yaml").write_text("[" * 5_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_yaml(tmp_path / "deep.yaml")


def test_large_files_in_a_model_folder_raise(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        sparse(tmp_path / name)
    with pytest.raises(ModelError, match="config.json: has .* bytes or more, at most .* are read"):
        load_tokenizer(str(tmp_path))


def test_a_large_text_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book.txt").write_bytes(b"Es war\r\neinmal")
    assert [row for _, row in read_rows(tmp_path / "book.txt")] == [{"text": "Es war\neinmal"}]
    with pytest.raises(DataError, match="endless.txt: has a hole of .* bytes that were never written"):
        list(read_rows(sparse(tmp_path / "endless.txt")))


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> int:
    """The longest record of these tests: the rule is the same for any length."""
    for module in (
        "files.bounded_lines",
        *(f"rows.{name}" for name in ("json_rows", "json_stream", "json_errors", "csv_rows")),
    ):
        monkeypatch.setattr(f"llm.{module}.LONGEST", 100)
    assert bounded_lines.LONGEST == 100
    return 100


def test_a_line_without_an_end_is_one_invalid_record(short_lines: int, tmp_path: Path) -> None:
    rows = [json.dumps({"text": "a" * (short_lines - 13)}), "\0" * 5 * short_lines, json.dumps({"text": "b"})]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    found = list(raw_rows(tmp_path / "data.jsonl"))
    assert [row.error is None for row in found] == [True, False, True], (
        "the longest line allowed, and the line after it"
    )
    assert str(found[1].error).startswith(f"{tmp_path}/data.jsonl:2: record: more than 100 characters without an end")
    assert len(found[1].text) <= 1000 and found[2].place.line == 3
    (tmp_path / "first.jsonl").write_text("\0" * 5 * short_lines + "\n" + rows[2])
    assert [row.error is None for row in raw_rows(tmp_path / "first.jsonl")] == [False, True]


def test_a_record_without_an_end_in_an_array(short_lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.rows.json_stream.CHUNK", 50)
    (tmp_path / "data.json").write_text('[{"text": "b"}, {"text": "' + "a" * 1000 + '"}]')
    errors = [str(record.error) for record in json_records(tmp_path / "data.json") if record.error is not None]
    assert "more than 100 characters without an end" in errors[0]


def test_a_cell_without_an_end(short_lines: int, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3," + "4" * 500)
    *rows, last = raw_rows(tmp_path / "data.csv")
    assert [row.value for row in rows] == [{"a": "1", "b": "2"}]
    assert isinstance(last.error, RecordError) and "without an end" in str(last.error)


def test_endless_and_invalid_metrics_raise(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(bytes(2 << 20))
    with pytest.raises(RunError, match="metrics.jsonl:1: a line of more than 1,048,576 bytes"):
        read_metrics(tmp_path)
    for content in ("[1]\n", "{\n", '{"step": 1}\n', "\0\n"):
        (tmp_path / "metrics.jsonl").write_text('{"kind": "plan"}\n' + content)
        with pytest.raises(RunError, match="metrics.jsonl:2: is not a line of metrics"):
            read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"kind": "plan"}\n{"kind": "tr')
    assert read_metrics(tmp_path) == [{"kind": "plan"}], "half a row is being written"
    assert read_metrics(tmp_path / "gone") == []


def test_a_file_replaced_after_the_check_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between check and open the file became a pipe, or a small one grew."""
    pipe(tmp_path / "data.jsonl")
    monkeypatch.setattr(regular_files, "check_regular", lambda path, most=0: None)
    with pytest.raises(OSError, match="named pipe"):
        regular_files.open_regular(tmp_path / "data.jsonl")
    with pytest.raises(OSError, match="at most 10 are read"):
        regular_files.read_regular(sparse(tmp_path / "file", 11), 10)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.tsv", "a.ndjson"])
@pytest.mark.parametrize("begun", [b"", b'[{"a": 1},\n', b"a,b\n1,2\n"])
def test_a_sparse_file_of_a_terabyte_raises(tmp_path: Path, name: str, begun: bytes) -> None:
    sparse(tmp_path / name)
    with (tmp_path / name).open("r+b") as file:
        file.write(begun)
    with pytest.raises(DataError, match=rf"{name}: has a hole of [0-9,]+ bytes that were never written"):
        list(raw_rows(tmp_path / name))


def test_data_after_a_small_hole_is_read(tmp_path: Path) -> None:
    """A file is read from its start after the check for holes."""
    path = sparse(tmp_path / "file", regular_files.LARGEST_HOLE + 5000)
    with path.open("r+b") as file:
        file.write(b"begun")
        file.seek(regular_files.LARGEST_HOLE // 2)
        file.write(b"x")
    with regular_files.open_regular(path) as file:
        assert file.read(5) == b"begun"
    regular_files.check_regular(path)
    path.unlink()
    with pytest.raises(OSError, match="never written"):
        regular_files.check_regular(sparse(path))


def test_settings_that_are_a_pipe_or_a_device_are_refused(tmp_path: Path) -> None:
    """`read_object` opens them itself, for callers that judged no folder."""
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "tokenizer_config.json").symlink_to("/dev/zero")
    for name, kind in (("config.json", "named pipe"), ("tokenizer_config.json", "device")):
        with pytest.raises(ModelError, match=f"{name}.*is a {kind}"):
            read_object(tmp_path / name)
