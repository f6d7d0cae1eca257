"""Products with the rows as columns are those of torch's `linear`, and are taken where they were measured as faster."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import LlamaForCausalLM

from llm.chat.decode_loop import DecodeLoop
from llm.decoding import few_rows
from llm.decoding.device_thread import DeviceThread
from llm.decoding.few_rows import FewRows, turned_product
from llm.decoding.prefix_cache import PrefixCache
from tests.llm.chat.test_decode_loop import GREEDY, Reader, answers, asking, one_by_one, random_prompts

ALL = frozenset(range(2, 9))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", range(1, 10))
def test_a_product_is_that_of_linear(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer, inputs = nn.Linear(48, 20, bias), torch.randn(rows, 1, 48)
    found = turned_product(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(found, layer(inputs))
    assert found.is_contiguous()
    half = layer.bfloat16()
    found = turned_product(inputs.bfloat16(), half.weight, half.bias)
    torch.testing.assert_close(found, half(inputs.bfloat16()))


def timed(monkeypatch: pytest.MonkeyPatch, turned: Callable[[int], float]) -> None:
    """Plain products take a second, the others `turned(rows)`."""

    def seconds(product: object, inputs: Tensor, _: list[Tensor]) -> float:
        return 1.0 if product is linear else turned(len(inputs))

    monkeypatch.setattr(few_rows, "_seconds", seconds)


def test_the_faster_way_is_taken_where_it_is_clearly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [torch.randn(4, 4)]
    timed(monkeypatch, lambda rows: {2: 0.95, 4: 0.5, 8: 1.5}[rows])
    assert few_rows.turned_rows(weights) == {3, 4}
    timed(monkeypatch, lambda rows: 0.5)
    assert few_rows.turned_rows(weights) == ALL
    assert few_rows.turned_rows([weights[0].bfloat16()]) == ALL | {1}, "in fp32 one row is multiplied as ever"
    timed(monkeypatch, lambda rows: 0.95)
    assert few_rows.turned_rows(weights) == frozenset()


def test_products_without_a_forward_of_their_own_change_in_the_block_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def counted(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(len(inputs))
        return turned_product(inputs, weight, bias)

    timed(monkeypatch, lambda rows: 0.5)
    monkeypatch.setattr(few_rows, "turned_product", counted)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6, dtype=torch.float64), nn.Linear(6, 6))
    own = model[2].forward
    vars(model[2])["forward"] = own
    rows = FewRows(model)
    with pytest.raises(KeyError), rows.applied():
        for count in (1, 2, 8, 9):
            model[0](torch.randn(count, 6))
        model[1](torch.randn(4, 6, dtype=torch.float64))
        model[2](torch.randn(4, 6))
        raise KeyError
    model[0](torch.randn(4, 6))
    assert seen == [2, 8] and "forward" not in vars(model[0]) and vars(model[2])["forward"] is own


def test_one_row_is_concerned_in_bf16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, lambda rows: 0.5)
    for dtype in (torch.float32, torch.bfloat16):
        assert FewRows(nn.Linear(6, 6, dtype=dtype)).helps_one_row == (dtype == torch.bfloat16)


def test_answers_decoded_so_are_those_one_by_one(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, lambda rows: 0.5)
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    prompts = random_prompts(24)
    loop = DecodeLoop(model, nullcontext, DeviceThread(), PrefixCache(model, 0))
    found = answers(loop, [asking(model, ids, GREEDY, Reader()) for ids in prompts])
    assert found == [one_by_one(model, ids, GREEDY) for ids in prompts]
    wrong = few_rows.turned_product
    monkeypatch.setattr(few_rows, "turned_product", lambda *given: wrong(*given) + 1)
    again = DecodeLoop(model, nullcontext, DeviceThread(), PrefixCache(model, 0))
    assert answers(again, [asking(model, ids, GREEDY, Reader()) for ids in prompts]) == found
    assert again._alone_because and "together give other logits" in again._alone_because
