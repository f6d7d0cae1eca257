"""Records of a mix occur as often as their weight says, still find their images, and are otherwise unchanged."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from data_tools.edit.mix import mix, read_weight, sized_order, weighted_order
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, RecordError, RunError
from llm.formats.readers import read
from llm.rows.files import read_rows
from vlm.app.cli import app

Json = dict[str, object]


def chat(name: str, *parts: Json) -> Json:
    content: object = [*parts, {"type": "text", "text": f"问 {name}"}] if parts else f"问 {name}"
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": f"答 {name}"}]
    return {"id": name, "messages": turns}


def write(path: Path, rows: list[Json], weight: float = 1.0) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return Source(path=str(path), weight=weight)


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


WEIGHTS = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.0, 1.75, 3.0])), min_size=1, max_size=4)


@given(parts=WEIGHTS, seed=st.integers(0, 5))
def test_weights_count_copies_as_in_a_recipes_epoch(parts: list[tuple[int, float]], seed: int) -> None:
    counts, weights = [count for count, _ in parts], [weight for _, weight in parts]
    order = weighted_order(counts, weights, seed).tolist()
    of_row = [weight for count, weight in parts for _ in range(count)]
    chances = np.random.default_rng([seed, 0]).random(len(of_row))  # one for each row, in the sources' order
    wanted = Counter[int]()
    for row, weight in enumerate(of_row):
        for copy in range(4):
            wanted[row] += copy + 1 <= weight or (copy < weight and chances[row] < weight - copy)
    assert Counter(order) == +wanted


@given(parts=WEIGHTS, size=st.integers(1, 200), seed=st.integers(0, 5))
def test_a_size_is_met_exactly_and_shared_by_weight(parts: list[tuple[int, float]], size: int, seed: int) -> None:
    counts, weights = [count for count, _ in parts], [weight for _, weight in parts]
    order = sized_order(counts, weights, size, seed)
    assert len(order) == size
    start = 0
    for count, weight in parts:
        copies = Counter(dict.fromkeys(range(start, start + count), 0))
        copies.update(row for row in order.tolist() if start <= row < start + count)
        exact = size * weight / sum(weights)
        assert math.floor(exact + 1e-9) <= copies.total() <= math.ceil(exact - 1e-9)
        assert max(copies.values()) - min(copies.values()) <= 1
        start += count


def test_the_remainder_goes_to_the_largest_fractions() -> None:
    order = sized_order([10, 10, 10], [1, 1, 2], 5, 0)  # 1.25, 1.25 and 2.5
    assert Counter(index // 10 for index in order.tolist()) == {0: 1, 1: 1, 2: 3}


def test_records_of_all_sources_are_mixed_unchanged(tmp_path: Path) -> None:
    first = [chat(f"a{n}") | {"extra": [n, 1.5, None, "\ud83d"]} for n in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, first)))
    second = write(tmp_path / "b.jsonl", [chat(f"b{n}") for n in range(20)], 2.0)
    sources = [Source(path=str(tmp_path / "a.jsonl"), weight=1.0), second]
    done = mix(sources, tmp_path / "out" / "m.jsonl", seed=4)
    written = lines(tmp_path / "out" / "m.jsonl")
    assert [(part.rows, part.written) for part in done.parts] == [(60, 60), (20, 40)]
    assert (done.format, done.images) == ("openai", "")
    expected = [*first, *lines(tmp_path / "b.jsonl"), *lines(tmp_path / "b.jsonl")]
    assert sorted(map(json.dumps, written)) == sorted(map(json.dumps, expected))
    early = Counter(str(row["id"])[0] for row in written[:50])
    assert min(early["a"], early["b"]) > 10  # shuffled
    mix(sources, tmp_path / "again.jsonl", seed=4)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out" / "m.jsonl").read_bytes()
    mix(sources, tmp_path / "again.jsonl", seed=5)
    assert (tmp_path / "again.jsonl").read_bytes() != (tmp_path / "out" / "m.jsonl").read_bytes()
    assert [part.written for part in mix(sources, tmp_path / "m.json", size=30).parts] == [10, 20]
    assert len(json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "again.jsonl", "b.jsonl", "m.json", "out"]


def found(source: Source) -> Counter[tuple[str, ...]]:
    return Counter(tuple(image.path for image in conversation.images) for conversation in read(source, Path()))


def test_images_of_several_folders_are_found_from_one(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image><image>图"}, {"from": "gpt", "value": "猫"}]
    one = write(tmp_path / "x" / "a.jsonl", [{"image": ["1.png", "子/2.png"], "conversations": turns}])
    other = write(tmp_path / "y" / "b.jsonl", [{"image": ["1.png", "2.png"], "conversations": turns}])
    text = write(tmp_path / "y" / "c.jsonl", [{"conversations": [turns[0] | {"value": "image"}, turns[1]]}])
    for out, root in ((tmp_path / "m.jsonl", ""), (tmp_path / "z" / "m.jsonl", str(tmp_path))):
        done = mix([one, other, text], out)
        assert done.images == root
        named = [("x/1.png", "x/子/2.png"), ("y/1.png", "y/2.png")]
        shown = [tuple(str(tmp_path / name) for name in names) for names in named]
        assert found(Source(path=str(out), images=done.images)) == Counter([*shown, ()])
    assert mix([other, text], tmp_path / "y" / "m.jsonl").images == ""
    assert mix([other, text], tmp_path / "z" / "m.jsonl").images == str(tmp_path / "y")
    assert mix([text, text], tmp_path / "z" / "m.jsonl").images == ""


def test_images_in_message_parts_are_found(tmp_path: Path) -> None:
    parts: list[Json] = [{"type": "image_url", "image_url": {"url": "u.png"}}, {"type": "image", "path": "p.png"}]
    one = write(tmp_path / "x" / "a.jsonl", [chat("path", *parts)])
    rows = [chat("plain") | {"images": []}, chat("url", {"type": "image", "url": "q.png"})]
    other = write(tmp_path / "y" / "b.jsonl", rows)
    assert mix([one, other], tmp_path / "m.jsonl").images == ""
    shown = [(str(tmp_path / "x/u.png"), str(tmp_path / "x/p.png")), (str(tmp_path / "y/q.png"),), ()]
    assert found(Source(path=str(tmp_path / "m.jsonl"))) == Counter(shown)
    ids = {str(row["id"]) for row in lines(tmp_path / "m.jsonl")}
    assert ids == {"path", "plain", "url"}
    assert "问 path" in (tmp_path / "m.jsonl").read_text(encoding="utf-8")


def test_parquet_keeps_its_images(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"<image>{n}"}, {"role": "assistant", "content": "猫"}],
             "images": [{"bytes": bytes([n, 255]), "path": "a.png"}]} for n in range(3)]  # fmt: skip
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / folder / "a.parquet")
    sources = [Source(path=str(tmp_path / folder / "a.parquet")) for folder in ("x", "y")]
    assert mix(sources, tmp_path / "m.parquet").images == ""
    written = [row for _, row in read_rows(tmp_path / "m.parquet")]
    assert sorted(map(str, written)) == sorted(map(str, rows * 2))
    with pytest.raises(RecordError, match=r"holds bytes, which JSON cannot hold. Name the output \.parquet"):
        mix(sources, tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_refusals(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", [chat("1"), chat("2")], 0.001)
    other = write(tmp_path / "b.jsonl", [{"instruction": "问", "output": "答"}])
    with pytest.raises(
        ConfigError, match=r"b\.jsonl is read as alpaca, .*a\.jsonl as openai.* data convert .* --to openai"
    ):
        mix([one, other], tmp_path / "m.jsonl")
    with pytest.raises(ConfigError, match="never written over"):
        mix([one], tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match=r"\.parquet can only be written from \.parquet, found \.jsonl"):
        mix([one], tmp_path / "m.parquet")
    with pytest.raises(DataError, match="no record was drawn"):
        mix([one], tmp_path / "m.jsonl")
    with pytest.raises(RunError, match="writable"):
        mix([one], tmp_path / "a.jsonl" / "m.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_a_weight_follows_the_last_equals_sign(tmp_path: Path) -> None:
    assert read_weight("a=b.jsonl=0.5") == ("a=b.jsonl", 0.5)
    assert read_weight("a.jsonl") == ("a.jsonl", 1.0)
    (tmp_path / "lr=1").write_text("")
    assert read_weight(str(tmp_path / "lr=1")) == (str(tmp_path / "lr=1"), 1.0)
    for wrong in ("a.jsonl=x", "a.jsonl=0", "a.jsonl=-1", "a.jsonl=inf", "a.jsonl=nan"):
        with pytest.raises(ConfigError, match="weight"):
            read_weight(wrong)


def test_the_command(tmp_path: Path) -> None:
    for name, count in (("a", 4), ("b", 6)):
        write(tmp_path / f"{name}.jsonl", [chat(f"{name}{n}") for n in range(count)])
    sources = [f"{tmp_path}/a.jsonl=2", f"{tmp_path}/b.jsonl"]
    done = CliRunner().invoke(app, ["data", "mix", *sources, f"{tmp_path}/m.jsonl"])
    assert (done.exit_code, done.output) == (
        0,
        f"{tmp_path}/m.jsonl: 14 records, openai\n  {tmp_path}/a.jsonl: 4 records at weight 2, 8 written\n"
        f"  {tmp_path}/b.jsonl: 6 records at weight 1, 6 written\nnext: eyegraft data check {tmp_path}/m.jsonl\n",
    )
    done = CliRunner().invoke(app, ["data", "mix", *sources, f"{tmp_path}/m.jsonl", "--size", "9"])
    assert f"{tmp_path}/m.jsonl: 9 records" in done.output
