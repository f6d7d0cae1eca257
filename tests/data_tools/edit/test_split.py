"""The parts of a split share no image, record or id, and their sizes come as near to the request as possible."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from data_tools.edit.record_keys import record_keys
from data_tools.edit.split import SplitResult, split
from data_tools.edit.split_sizes import read_shares
from llm.config.schema import Source
from llm.data.group_shares import assign
from llm.data.hold_out import hold_out
from llm.data.leak_groups import draw_order, group
from llm.errors import ConfigError, DataError, ImageError, RecordError
from vlm.app.cli import app

Json = dict[str, object]
HALVES = {"train": 0.5, "validation": 0.5}


def row(name: str, images: list[str], answer: str = "答") -> Json:
    question = "<image>" * len(images) + f"问 {name}"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": name, "image": images, "conversations": turns}


def write(path: Path, rows: list[Json]) -> Source:
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in rows), encoding="utf-8")
    return Source(path=str(path))


def sides(done: SplitResult) -> list[list[Json]]:
    return [[json.loads(line) for line in side.path.read_text(encoding="utf-8").splitlines()] for side in done.sides]


def slow_groups(rows: list[Json]) -> list[set[int]]:
    """Groups of records, found by merging pairs until nothing changes."""
    groups = [{number} for number in range(len(rows))]

    def touch(first: set[int], second: set[int]) -> bool:
        for a, b in itertools.product(first, second):
            one, two = rows[a], rows[b]
            if set(one["image"]) & set(two["image"]) or one["id"] == two["id"]:
                return True
            if (one["conversations"], one["image"]) == (two["conversations"], two["image"]):
                return True
        return False

    merged = True
    while merged:
        merged = False
        for first, second in itertools.combinations(groups, 2):
            if touch(first, second):
                groups.remove(second)
                first |= second
                merged = True
                break
    return groups


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.sampled_from([f"{n}.png" for n in range(14)]), max_size=3)),
    min_size=2,
    max_size=20,
)


@settings(max_examples=150)
@given(rows=ROWS, seed=st.integers(0, 3))
def test_parts_share_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, list[str]]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("split")
    written = [row(str(name), images) for name, images in rows]
    expected = slow_groups(written)
    source = write(folder / "a.jsonl", written)
    if len(expected) < 2:
        with pytest.raises(DataError, match="in 1 group cannot fill 2 parts"):
            split(source, folder / "out", HALVES, seed)
        assert not (folder / "out").exists() or not list((folder / "out").iterdir())
        return
    done = split(source, folder / "out", HALVES, seed)
    assert done.groups == len(expected)
    assert done.largest == max(map(len, expected))
    train, validation = sides(done)
    left = iter(written)
    assert all(item in left for item in train)  # in their order, as they were
    assert sorted(map(json.dumps, train + validation)) == sorted(map(json.dumps, written))
    for key in ("id", "image"):
        first, second = ({value for item in side for value in _values(item[key])} for side in (train, validation))
        assert not first & second
    assert not {json.dumps(item["conversations"]) for item in train if not item["image"]} & {
        json.dumps(item["conversations"]) for item in validation if not item["image"]
    }
    assert abs(len(validation) - len(written) / 2) <= max(map(len, expected)) / 2


def _values(value: object) -> Iterator[object]:
    yield from value if isinstance(value, list) else [value]


def test_records_stay_together_transitively_by_images_id_and_words(tmp_path: Path) -> None:
    rows = [row("1", ["a.png"]), row("2", ["b.png"]), row("3", ["a.png", "b.png"]), row("4", ["c.png"])]
    rows += [row("4", ["d.png"]), row("5", []), row("5x", []), row("6", ["e.png"])]
    rows[6]["conversations"] = rows[5]["conversations"]
    for seed in range(8):
        done = split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", HALVES, seed)
        assert (done.groups, done.largest) == (4, 3)
        assert done.links == {"image": 2, "id": 1, "words": 1}
        names = [{str(item["id"]) for item in side} for side in sides(done)]
        for together in ({"1", "2", "3"}, {"4"}, {"5", "5x"}):
            assert any(together <= side for side in names)


def test_pairs_of_one_prompt_stay_together(tmp_path: Path) -> None:
    """What is rejected in one part would otherwise be chosen in the other."""
    pairs: list[Json] = [{"prompt": f"问 {n // 2}", "chosen": f"{n}", "rejected": f"{n + 1}"} for n in range(8)]
    keys = record_keys(write(tmp_path / "pairs.jsonl", pairs), Path(), by_content=False)
    assert group(keys).of == [0, 0, 1, 1, 2, 2, 3, 3]


def test_equal_bytes_are_the_same_image_only_by_content(tmp_path: Path) -> None:
    for name, content in (("a.png", b"1"), ("copy.png", b"1"), ("b.png", b"2")):
        (tmp_path / name).write_bytes(content)
    source = write(tmp_path / "a.jsonl", [row(n, [f"{n}.png"]) for n in ("a", "copy", "b")])
    assert split(source, tmp_path / "out", HALVES).groups == 3
    assert split(source, tmp_path / "out", HALVES, by_content=True).groups == 2
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImageError, match=r"b\.png: No such file"):
        split(source, tmp_path / "out", HALVES, by_content=True)


def test_the_same_name_in_two_folders_is_two_images(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(tmp_path / "in" / name / "a.jsonl", [row(name, ["1.png"])])
    with pytest.raises(ConfigError, match="relative to 2 folders"):
        split(Source(path=str(tmp_path / "in")), tmp_path / "out", HALVES)
    with pytest.raises(DataError, match="1 group"):  # with one named folder it is one image
        split(Source(path=str(tmp_path / "in"), images=str(tmp_path)), tmp_path / "out", HALVES)


def test_a_seed_draws_the_same_in_another_folder_and_nearly_the_same_of_more_data(tmp_path: Path) -> None:
    rows = [row(str(n), [f"{n}.png"]) for n in range(400)]
    chosen = []
    for folder, seed, count in (("x", 0, 400), ("y", 0, 400), ("y", 1, 400), ("z", 0, 360)):
        (tmp_path / folder).mkdir(exist_ok=True)
        done = split(write(tmp_path / folder / "a.jsonl", rows[:count]), tmp_path / "out", read_shares([], 0.1), seed)
        assert [side.rows for side in done.sides] == [count - count // 10, count // 10]
        chosen.append({str(item["id"]) for item in sides(done)[1]})
    first, elsewhere, other_seed, smaller = chosen
    assert first == elsewhere
    assert len(first & other_seed) < 20
    assert len(smaller & first) >= 30  # of 36; those at the edge may go


def test_training_draws_images_in_the_same_order(tmp_path: Path) -> None:
    """`llm.data.hold_out` hashes the same key: it holds out a prefix of our order."""

    def first_64_bits(text: str) -> int:
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    source = write(tmp_path / "a.jsonl", [row(str(n), [f"子/{n}.png"]) for n in range(20)])
    keys = [first_64_bits(f"子/{n}.png") for n in range(20)]
    order = [first_64_bits(f"7:{key}") for key in keys]
    assert group(record_keys(source, Path(), False)).draws == keys
    assert [draw_order(7, key) for key in keys] == order
    corpus: Any = Keys(np.array(keys, np.uint64))
    _, held = hold_out(corpus, 0.3, 7)
    assert held.tolist() == [n for n in range(20) if order[n] < 0.3 * 2**64] and 2 < len(held) < 12


@dataclass(frozen=True)
class Keys:
    """The attributes of a corpus that `hold_out` uses."""

    keys: NDArray[np.uint64]

    @property
    def image_counts(self) -> NDArray[np.int64]:
        return np.ones(len(self.keys), np.int64)

    def __len__(self) -> int:
        return len(self.keys)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=30),
    shares=st.sampled_from([{"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.2, "c": 0.1}, dict.fromkeys("abc", 1 / 3)]),
)
def test_shares_are_met_as_nearly_as_groups_allow(sizes: list[int], shares: dict[str, float]) -> None:
    given_to = assign(sizes, shares)
    assert set(given_to) == set(shares)
    *small, _ = sorted(shares, key=lambda name: shares[name])
    first = small[0]
    rows = sum(size for size, side in zip(sizes, given_to, strict=True) if side == first)
    left = [size for size, side in zip(sizes, given_to, strict=True) if side != first]
    wanted = shares[first] * sum(sizes)
    alone = given_to.count(first) == 1 and rows == min(sizes)
    crowded = len(left) <= len(shares) - 1
    assert alone or crowded or abs(rows - wanted) <= min(left) / 2 + 1e-9
    assert all(abs(rows + size - wanted) >= abs(rows - wanted) - 1e-9 for size in left) or crowded


def test_single_records_meet_their_shares_exactly() -> None:
    given_to = assign([1] * 1000, {"train": 0.8, "validation": 0.15, "test": 0.05})
    assert [given_to.count(name) for name in ("train", "validation", "test")] == [800, 150, 50]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet", ".csv"])
def test_parts_have_the_suffix_and_records_of_the_source(tmp_path: Path, suffix: str) -> None:
    rows = [{"instruction": f"问, {n}", "output": f'"答"\n{n}'} for n in range(10)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        path.write_text("instruction,output\n" + "".join(f'"问, {n}","""答""\n{n}"\n' for n in range(10)))
    else:
        lines = [json.dumps(item) for item in rows]
        path.write_text("[" + ",".join(lines) + "]" if suffix == ".json" else "\n".join(lines))
    done = split(Source(path=str(path)), tmp_path / "out", {"a": 0.7, "b": 0.3})
    assert [side.path.name for side in done.sides] == [f"a{suffix}", f"b{suffix}"]
    from llm.rows.files import read_rows

    read = [[item for _, item in read_rows(side.path)] for side in done.sides]
    assert [len(side) for side in read] == [7, 3]
    assert sorted(read[0] + read[1], key=str) == sorted(rows, key=str)


def test_refusals(tmp_path: Path) -> None:
    source = write(tmp_path / "train.jsonl", [row(str(n), []) for n in range(4)])
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="never written over"):
        split(source, tmp_path, read_shares([], 0.5))
    with pytest.raises(ConfigError, match="is inside the folder"):
        split(Source(path=str(tmp_path)), tmp_path / "out", HALVES)
    for written, share, found in (
        (["a=0.5"], 0.0, "a=0.5: two parts or more with different names"),
        (["a=0.5", "a=0.5"], 0.0, "a=0.5 a=0.5: two parts or more with different names"),
        (["a=0.5", "b=0.6"], 0.0, "a=0.5 b=0.6: shares must be between 0 and 1 and add up to 1"),
        (["a=0", "b=0.5", "c=0.5"], 0.0, "a=0 b=0.5 c=0.5: shares must be between 0 and 1"),
        ([], 1.5, "train=-0.5 validation=1.5: shares must be between 0 and 1"),
        ([], 0.0, "train=1 validation=0: shares must be between 0 and 1"),
        (["a=1", "b=x"], 0.0, "b=x: is not NAME=SHARE"),
        (["a=1", "b=nan"], 0.0, "b=nan: is not NAME=SHARE"),
        (["../a=0.5", "b=0.5"], 0.0, r"\.\./a=0\.5: is not NAME=SHARE"),
        (["a=0.5", "b=0.5"], 0.1, "--share: given together with named shares"),
    ):
        with pytest.raises(ConfigError, match=f"^{found}"):
            read_shares(written, share)
    assert read_shares(["a=0.1", "b=0.2", "c=0.7"], 0.0) == {"a": 0.1, "b": 0.2, "c": 0.7}
    assert read_shares([], 0.25) == {"train": 0.75, "validation": 0.25}
    write(tmp_path / "b.jsonl", [row("1", []), row("2", ["../x.png"])])
    with pytest.raises(RecordError, match="is outside the image folder"):
        split(Source(path=str(tmp_path / "b.jsonl")), tmp_path / "out", HALVES)
    assert (tmp_path / "train.jsonl").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row(str(n), [f"{n // 2}.png"]) for n in range(40)])
    arguments = ["data", "split", str(tmp_path / "a.jsonl"), str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert done.output == (
        f"{tmp_path}/out/train.jsonl: 36 records, 0.9 (0.9 requested)\n"
        f"{tmp_path}/out/validation.jsonl: 4 records, 0.1 (0.1 requested)\n"
        "llava: 20 groups that stay together (20 by image); the largest has 2 records\n"
        f"its image paths start in another folder; in a recipe write images: {tmp_path}\n"
        f"next: eyegraft train RECIPE data.sources.0.path={tmp_path}/out/train.jsonl"
        f" data.validation_sources.0.path={tmp_path}/out/validation.jsonl\n"
    )
    done = CliRunner().invoke(app, [*arguments, "train=0.5", "held=0.25", "test=0.25", "--seed", "3"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "held.jsonl", "test.jsonl", "train.jsonl", "validation.jsonl"
    ]  # fmt: skip
    assert "test.jsonl: 10 records, 0.25 (0.25 requested)\n" in done.output


def test_fields_that_the_format_does_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(name, [f"{name}.png"]) | {"rationale": "Since it is."} for name in "abcd"]
    split(write(tmp_path / "in.jsonl", rows), tmp_path / "out", HALVES)
    assert "field rationale of 4 rows is not read and not trained on" in caplog.text
