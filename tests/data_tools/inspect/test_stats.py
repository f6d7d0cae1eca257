"""Statistics against numbers counted by hand or by a slow second implementation."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer
from typer.testing import CliRunner

from data_tools.inspect.counters import LONGEST, FrequentTexts, opening, words_in
from data_tools.inspect.packing_preview import preview_packing
from data_tools.inspect.stats import collect_statistics, distribution
from data_tools.inspect.stats_plots import plot
from data_tools.inspect.stats_text import summary_lines
from data_tools.inspect.target import find_target
from llm.data.corpus import Corpus, build_corpus
from llm.data.loader import plan_run
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError, DataError, RunError
from tests.llm.conftest import tiny_llama  # noqa: F401  # a fixture
from vlm.app.cli_data import data_app

QaPair = tuple[str, str]


def write(folder: Path, *records: Sequence[QaPair], image: str = "", system: str = "") -> Path:
    """LLaVA records of questions and answers; with `image`, each shows it first."""
    rows = []
    for turns in records:
        mark = "<image>\n" if image else ""
        values = [
            {"from": who, "value": text} for turn in turns for who, text in zip(("human", "gpt"), turn, strict=True)
        ]
        values[0]["value"] = mark + values[0]["value"]
        rows.append(
            {"conversations": values} | ({"image": image} if image else {}) | ({"system": system} if system else {})
        )
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path: Path, *options: str) -> str:
    done = CliRunner().invoke(data_app, ["stats", str(path), *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_statistics_of_texts(tmp_path: Path) -> None:
    path = write(tmp_path, [("Hi?", "Yes."), ("ok", "No no")], [("你好吗", "我很好")], system="Be kind")
    found, plot_data = collect_statistics(find_target(str(path)))
    assert (found.records, found.with_system, found.turns, found.answers) == (2, 2, {1: 1, 2: 1}, 3)
    assert found.characters.total == 7 + 3 + 4 + 2 + 5 + 7 + 3 + 3 and plot_data.lengths.tolist() == [21, 13]
    assert found.words.total == 2 + 1 + 1 + 1 + 2 + 2 + 3 + 3
    assert found.learnt_characters == 4 + 5 + 3
    assert found.mostly_cjk == 0 and found.cjk_letters == 6 / (6 + 2 + 3 + 2 + 4 + 6 + 6)
    assert found.tokens is None
    output = "\n".join(summary_lines(found))
    assert "no model is named: characters and words" in output and "tokens" in output and "steps" not in output


def test_images_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, [("a", "b")], [("c", "d")], image="1.png")
    found, _ = collect_statistics(find_target(str(path)))
    assert (found.images, found.distinct_images, found.records_by_images) == (2, 1, {1: 2})


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a b\nc", 3), ("我是 AI 助手", 5), ("カナ 한글", 4)])
def test_words(text: str, count: int) -> None:
    assert words_in(text) == count


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("I am Iris, hello", "I am Iris,"),
        ("  yes \n", "yes"),
        ("我是小艾，由某人开发", "我是小艾，由"),
        ("《红楼梦》是一部小说", "《红楼梦》是"),
        ("", ""),
    ],
)
def test_openings(text: str, begins: str) -> None:
    assert opening(text) == begins


def test_counts_of_frequent_texts_are_exact_though_rare_ones_are_dropped() -> None:
    random = np.random.default_rng(0)
    texts = [f"often {n % 3}" if n % 2 else f"rare {number}" for n, number in enumerate(random.integers(0, 4000, 3000))]
    counter = FrequentTexts(window=100)
    for text in texts:
        counter.add(text)
    expected = Counter(texts)
    assert counter.most(3) == sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    assert counter.distinct == len(expected) > 1000 and len(counter) == 3000
    assert len(counter._seen) < 300, "memory stays small"


def test_a_long_text_is_shortened() -> None:
    counter = FrequentTexts()
    for end in ("x", "y", "y"):
        counter.add("a" * LONGEST + end)
    assert counter.most(2) == [("a" * LONGEST + "…", 2), ("a" * LONGEST + "…", 1)]


def test_quantiles_are_values_that_occur() -> None:
    found = distribution(np.array([9, 1, 2, 3, 4, 5, 6, 7, 8, 100]))
    assert (found.total, found.mean) == (145, 14.5)
    assert [found.quantiles[name] for name in ("min", "25%", "median", "95%", "max")] == [1, 3, 5, 100, 100]


def test_a_dominant_answer_is_warned_of(tmp_path: Path) -> None:
    varied = [[(f"q{n}", f"answer {n}")] for n in range(75)]
    warned = lines(write(tmp_path, *varied, *[[("who?", "我是小艾")]] * 25))
    assert "warning: one answer makes up 25% of all: 我是小艾." in warned
    assert "25  25.0%  我是小艾" in warned
    assert "warning" not in lines(write(tmp_path, *varied, *[[("who?", "我是小艾")]] * 15))


# Tokens and packs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, tiny_llama: Path) -> Path:  # noqa: F811
    """Thirty text records that share a system prompt; one is too long."""
    turns = [[(f"What is {n}?", f"It is {'the dog ' * (n % 5)}{n}")] for n in range(29)]
    data = write(tmp_path, *turns, [("long", "word " * 300)], system="You are a helpful and quiet assistant, always.")
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nmodel: {{llm: {tiny_llama}}}\n"
        f"data: {{sources: [{{path: {data}}}], template: chatml, max_length: 200}}\n"
        "train: {batch: 6, pack_tokens: 300}\n"
    )
    return path


def corpus_of(recipe: Path, folder: Path) -> Corpus:
    target = find_target(str(recipe))
    encoder = target.encoder()
    assert encoder is not None
    return build_corpus(target.data.sources, target.data, encoder, folder, Path())


def test_tokens_are_those_of_training(recipe: Path, tmp_path: Path) -> None:
    found, plot_data = collect_statistics(find_target(str(recipe)))
    corpus = corpus_of(recipe, tmp_path / "cache")
    assert found.tokens is not None
    assert (found.records, found.tokens.too_long, len(corpus)) == (30, 1, 29)
    tokenizer = AutoTokenizer.from_pretrained(_model(recipe))
    output = ["system\nYou are a helpful and quiet assistant, always.", "user\nWhat is 3?", "assistant\n"]
    asked = "<|im_end|>\n".join(f"<|im_start|>{text}" for text in output)
    answer = "It is the dog the dog the dog 3<|im_end|>"
    opening, whole = (tokenizer(text, add_special_tokens=False).input_ids for text in (asked, asked + answer))
    assert (plot_data.lengths[3], corpus.targets[3]) == (len(whole), len(whole) - len(opening))
    assert plot_data.lengths[:29].tolist() == corpus.lengths.tolist() and plot_data.lengths[29] > 200
    assert found.tokens.rows == corpus.lengths.sum() and found.tokens.supervised == corpus.targets.sum()
    assert found.tokens.lengths.quantiles["max"] == plot_data.lengths[29], (
        "the distribution includes records that are too long"
    )
    assert "1 of 30 records are longer than 200 tokens" in "\n".join(summary_lines(found))


def test_the_preview_equals_packs_folded_one_by_one(recipe: Path, tmp_path: Path) -> None:
    corpus, target = corpus_of(recipe, tmp_path / "cache"), find_target(str(recipe))
    found = {(packing.mode, packing.order): (packing, loads) for packing, loads in preview_packing(
        corpus, np.arange(len(corpus)), target.train, target.seed
    )}  # fmt: skip
    assert set(found) == {(mode, order) for mode in ("flatten", "fill") for order in ("random", "by_image")}
    flatten, _ = found["flatten", "random"]
    assert flatten.steps == 5 and flatten.unfolded == corpus.lengths.sum() and flatten.saved > 0.2
    for (mode, order), (packing, rows) in found.items():
        train = target.train.model_copy(update={"packing": mode, "order": order})
        steps = plan_run(corpus, np.arange(len(corpus)), train, target.seed).plans[0].steps
        packs = [[corpus.sample(index) for index in pack] for step in steps for pack in step]
        assert rows.tolist() == [tokens_of(pack) for pack in packs] and rows.max() <= 300
        assert sorted(len(sample.ids) for pack in packs for sample in pack) == sorted(corpus.lengths)
        assert (packing.rows, packing.packs, packing.steps) == (rows.sum(), len(packs), len(steps))
        assert packing.fullness == pytest.approx(rows.mean() / 300)
        assert packing.saved == pytest.approx(1 - rows.sum() / corpus.lengths.sum())


def tokens_of(pack: Sequence[Sample]) -> int:
    """Tokens of a pack whose samples share one prefix, up to the first target; the prefix counts once."""
    shared = 0
    while len({int(one.ids[shared]) for one in pack}) == 1 and all(one.labels[shared] == IGNORED for one in pack):
        shared += 1
    return sum(len(one.ids) for one in pack) - (len(pack) - 1) * shared


def test_branches_of_a_record_share_its_prefix(recipe: Path, tmp_path: Path) -> None:
    write(
        tmp_path, [("What is one?", "1"), ("What is two?", "2"), ("And 3?", "3")], system="You are a quiet assistant."
    )
    together, apart = (corpus_of(recipe, tmp_path / "a"), 0)
    recipe.write_text(recipe.read_text().replace("template:", "turns: apart, template:"))
    corpus, target = corpus_of(recipe, tmp_path / "b"), find_target(str(recipe))
    ((packing, _), *_rest) = preview_packing(corpus, np.arange(1), target.train, 0)
    sample = corpus.sample(0)
    assert len(sample.branches) == 3 and len(together) == 1 and not together.sample(0).branches
    apart = 3 * sample.branches[0] + (len(sample.ids) - sample.branches[0])
    assert (packing.rows, packing.unfolded) == (len(sample.ids), apart)


def test_held_out_records_are_not_packed(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("max_length", "validation: 0.4, max_length"))
    found, _ = collect_statistics(find_target(str(recipe)))
    assert found.tokens is not None and found.tokens.packing[0].steps < 5


def test_images_of_a_text_model_need_image_rows(tmp_path: Path, tiny_llama: Path) -> None:  # noqa: F811
    path = write(tmp_path, [("a", "b")], image="1.png")
    with pytest.raises(ConfigError, match=r"rows\.jsonl:1: has an image.*--image-rows N"):
        collect_statistics(find_target(str(path), str(tiny_llama)))
    found, _ = collect_statistics(find_target(str(path), str(tiny_llama), image_tokens=5))
    assert found.tokens is not None and found.tokens.image_rows == 5


def test_records_that_are_all_too_long(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="All 30 records were longer"):
        collect_statistics(find_target(str(tmp_path / "rows.jsonl"), _model(recipe), budget=9))


def _model(recipe: Path) -> str:
    return recipe.read_text().partition("{llm: ")[2].partition("}")[0]


# The command ----------------------------------------------------------------------------------------------------------


def test_json_holds_the_numbers(recipe: Path) -> None:
    found = json.loads(lines(recipe, "--json", "--budget", "250", "--batch", "10"))
    first = found["tokens"]["packing"][0]
    assert (found["records"], found["plots"], first["steps"], first["budget"]) == (30, [], 3, 250)
    assert 0 < first["fullness"] <= 1 and len(found["warnings"]) == 1


def test_the_text_report(recipe: Path) -> None:
    output = lines(recipe)
    assert output.splitlines()[2] == "records                 30  30 with a system prompt"
    assert "an epoch in packs of at most 300 tokens and 64 images, 6 records a step" in output
    assert max(len(line) for line in output.splitlines() if not line.startswith(("warning", "as ", "/"))) <= 120


@pytest.mark.filterwarnings("error")
def test_plots(recipe: Path, tmp_path: Path) -> None:
    output = lines(recipe, "--plots", str(tmp_path / "plots"))
    names = ("lengths", "turns", "answers", "packs")
    assert [path.name for path in sorted((tmp_path / "plots").iterdir())] == sorted(f"{name}.png" for name in names)
    for name in names:
        with Image.open(tmp_path / "plots" / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20, "the plot is not blank"
        assert f"{name}.png: drawn" in output
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="writable folder"):
        plot(*collect_statistics(find_target(str(tmp_path / "rows.jsonl"))), tmp_path / "file")
