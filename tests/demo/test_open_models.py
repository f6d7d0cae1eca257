"""Models in memory: which are put away for which, by bytes; never one in use; and adapters that share a base."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from demo.api.app import build_api
from demo.model_library import ModelLibrary, ModelWeights
from demo.open_models import GIB, LEAST_LEFT, NoRoomError, OpenModels
from demo.server.generation_queue import GenerationQueue
from demo.server.serving_metrics import ServingMetrics
from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.model.quantization import is_four_bit
from llm.train.process_memory import FreeMemory
from vlm.model import shared_tensors
from vlm.model.memory_need import MemoryNeed
from vlm.model.open_chat_model import open_chat_model
from vlm.model.shared_tensors import OnModel, stored_bytes

GREEDY = Sampling(max_new_tokens=12)
UNIT = 16384  # bytes of a fake model's weights
CACHE = 100


@dataclass(frozen=True)
class Fake:
    """A model of so many units of weights of its own, and of `base` that others may have too."""

    name: str
    units: int = 1
    base: int = 0
    adapters: bool = True

    @property
    def source(self) -> "Fake":
        return replace(self, adapters=True)

    def stamp(self) -> str:
        return self.name

    def need(self, together: int, new_tokens: int) -> MemoryNeed:
        return MemoryNeed((self.units + self.base) * UNIT, CACHE)

    def open(self, complete: OnModel) -> ChatModel:
        module: Any = nn.Module()
        seed = sum(map(ord, self.name))
        module.own = nn.Parameter(torch.randn(self.units * UNIT // 4, generator=torch.Generator().manual_seed(seed)))
        module.base = nn.Parameter(torch.ones(self.base * UNIT // 4))
        complete(module)
        return ChatModel(module, module, None, None)


@dataclass
class Memory:
    """A machine whose models alone take memory; `card` has as many bytes, where there is one."""

    bytes: int
    on_card: bool = False
    models: OpenModels = field(init=False)

    def __post_init__(self) -> None:
        self.models = OpenModels(free=self.free)

    def free(self) -> FreeMemory:
        left = self.bytes + LEAST_LEFT - self.models.sizes()[1]
        return FreeMemory(10**12, left) if self.on_card else FreeMemory(left)

    @property
    def names(self) -> list[str]:
        """The models in memory, the least recently used first."""
        return [str(key[1]) for key in self.models._open]


@pytest.fixture(params=[False, True], ids=["machine", "card"])
def three(request: pytest.FixtureRequest) -> Memory:
    """Memory for three models of a unit and the cache of one."""
    return Memory(3 * UNIT + CACHE, request.param)


def test_the_least_recently_used_is_put_away_when_memory_is_needed(three: Memory) -> None:
    for name in ("a", "b", "c", "a", "d"):
        assert three.models.get(Fake(name)) is not None
    assert three.names == ["c", "a", "d"]
    three.models.get(Fake("big", 2))
    assert three.names == ["d", "big"] and three.models.sizes() == (2, 3 * UNIT)
    metrics = ServingMetrics()
    metrics.add_models(three.models.sizes)
    assert "eyegraft_models_loaded 2\n" in metrics.text() and f"eyegraft_models_bytes {3 * UNIT}\n" in metrics.text()


def test_a_model_in_use_is_never_put_away(three: Memory) -> None:
    held = three.models.get(Fake("a"))
    for name in ("b", "c", "d", "e"):
        three.models.get(Fake(name))
    assert three.names == ["a", "d", "e"] and three.models.get(Fake("a")).model is held.model
    off = held.without_adapters()
    del held
    copy = three.models.get(Fake("a", adapters=False))
    assert not copy.adapters and off == copy
    with pytest.raises(NoRoomError, match=r"while 1 of its models are in use\. Ask again") as caught:
        three.models.get(Fake("huge", 3))
    assert caught.value.for_now and three.names == ["d", "e", "a"], "none was put away in vain"
    del copy, caught
    gc.collect()
    three.models.get(Fake("huge", 3))
    assert three.names == ["huge"]


def test_what_can_never_fit_is_refused_with_its_figures(three: Memory) -> None:
    three.models.get(Fake("a"))
    with pytest.raises(NoRoomError) as caught:
        three.models.get(Fake("huge", 4))
    place = "the card" if three.on_card else "this machine"
    assert str(caught.value) == (
        f"the model needs 0.00 GiB for its weights and 0.00 GiB for answers; {place} has room for 0.00 GiB with every "
        "other model put away. Take a larger machine, fewer bits or lower limits"
    )
    assert not caught.value.for_now and three.names == ["a"]


def test_shared_weights_are_counted_once(three: Memory) -> None:
    """Five of a base of two units: the card needs the base once, the machine a second time while one is loaded."""
    three.bytes = (2 + 5 + (0 if three.on_card else 2)) * UNIT + CACHE
    for name in "abcde":
        three.models.get(Fake(name, 1, 2))
    assert three.names == [*"abcde"] and three.models.sizes() == (5, 7 * UNIT)


def test_a_bound_holds_for_all_models_whatever_is_free() -> None:
    models = OpenModels(most=4 * UNIT + CACHE, free=lambda: FreeMemory(10**12))
    for name in "abc":
        models.get(Fake(name, 1, 2))
    assert models.sizes() == (2, 4 * UNIT), "a base of two units and two models; the third did not fit beside them"
    with pytest.raises(NoRoomError, match="--model-memory has room for") as caught:
        models.get(Fake("huge", 5))
    assert not caught.value.for_now and models.sizes()[0] == 2


def test_a_machine_without_room_to_load_leaves_the_card_as_it_is() -> None:
    free = [FreeMemory(10**12, 10**12)]
    models = OpenModels(free=lambda: free[0])
    models.get(Fake("a"))
    free[0] = FreeMemory(LEAST_LEFT + UNIT - 1, 10**12)
    with pytest.raises(NoRoomError, match="this machine has room for"):
        models.get(Fake("b"))
    assert models.sizes()[0] == 1


@pytest.mark.parametrize(("held", "status"), [(True, 503), (False, 507)])
def test_a_client_reads_why_and_whether_to_ask_again(held: bool, status: int, three: Memory) -> None:
    class Models(dict[str, Any]):
        def __getitem__(self, name: str) -> ChatModel:
            return three.models.get(Fake(name, 3 if held else 4))

    mine = three.models.get(Fake("a")) if held else None
    client = TestClient(build_api(GenerationQueue(Models({"m": None}), 1), frozenset({"testserver"})))
    answer = client.post("/v1/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "Q"}]})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, "server_error", "insufficient_memory")
    assert "the model needs" in error["message"] and error["param"] == "model"
    assert ("retry-after" in answer.headers, answer.headers.get("x-should-retry")) == (held, None if held else "false")
    assert 'eyegraft_refusals_total{reason="memory"} 1' in client.get("/metrics").text
    del mine


# Real models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapters(roomy_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of one base that change its answers: two plain ones, one with a trained head, one with more tokens."""
    folder = tmp_path_factory.mktemp("adapters")
    plain = LoraConfig(r=4, target_modules=["q_proj", "up_proj"])
    configs = {
        "one": plain,
        "two": plain,
        "head": LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"]),
        "tokens": LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"]),
    }
    for seed, (name, config) in enumerate(configs.items()):
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(roomy_llm)
        if name == "tokens":
            base.resize_token_embeddings(base.config.vocab_size + 8)
        model = get_peft_model(base, config)
        for key, parameter in model.named_parameters():
            if "lora_B" in key or "modules_to_save" in key:
                nn.init.normal_(parameter, std=0.5)
        model.save_pretrained(folder / name)
    return {name: folder / name for name in configs}


@pytest.fixture
def open_models() -> Iterator[OpenModels]:
    yield OpenModels(free=lambda: FreeMemory(64 * GIB))


def test_adapters_over_one_base_share_it_and_answer_as_alone(
    adapters: dict[str, Path], roomy_llm: Path, open_models: OpenModels
) -> None:
    asked = [question(text) for text in ("Who are you?", "What is it?", "Say something long.")]
    alone = {name: open_chat_model(path).answers(asked, GREEDY) for name, path in adapters.items()}
    assert len({tuple(answers) for answers in alone.values()}) == len(adapters), "each adapter does something"
    base = open_models.get(ModelWeights(roomy_llm))
    before = {name: tensor.detach().clone() for name, tensor in base.model.state_dict().items()}
    opened = {name: open_models.get(ModelWeights(path)) for name, path in adapters.items()}
    for _ in range(2):  # in turn, so that one would see what another left
        assert {name: [one.answer(each, GREEDY) for each in asked] for name, one in opened.items()} == alone
    assert base.answers(asked, GREEDY) == open_chat_model(roomy_llm).answers(asked, GREEDY)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    size, total = stored_bytes([base.model]), open_models.sizes()[1]
    own = sum(file.stat().st_size for path in adapters.values() for file in path.glob("*.safetensors"))
    assert total < size + own, "one base, and what each checkpoint holds"


def test_checkpoints_and_the_base_of_a_vision_run_share_what_is_equal(library: ModelLibrary) -> None:
    on, older = [name for name in library if "@" in name or name == "banana"][:2]
    assert "@" in older and "off" not in older
    fresh = ModelLibrary(library.root, opened=OpenModels(free=lambda: FreeMemory(64 * GIB)))
    new, old = fresh[on], fresh[older]
    assert {new.model.get_input_embeddings().weight.data_ptr()} == {old.model.get_input_embeddings().weight.data_ptr()}
    weights = library.weights[older]
    alone = open_chat_model(weights.path, weights.checkpoint)
    for model, same in ((old, alone), (new, library[on])):
        assert model.answer(question("Who are you?"), GREEDY) == same.answer(question("Who are you?"), GREEDY)
    assert fresh._opened.sizes()[1] < 1.5 * stored_bytes([alone.model])


def test_weights_of_four_bits_are_shared_too(
    adapters: dict[str, Path], open_models: OpenModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_tensors, "SMALLEST", 64)  # a linear of this base is 512 bytes
    one, two = (open_models.get(ModelWeights(adapters[name], bits=4)) for name in ("one", "two"))
    places = [{one.weight.data.data_ptr() for one in model.model.modules() if is_four_bit(one)} for model in (one, two)]
    assert len(places[0]) == 14 and places[0] == places[1]
    for name, model in (("one", one), ("two", two)):
        alone = open_chat_model(adapters[name], bits=4)
        assert model.answer(question("Who are you?"), GREEDY) == alone.answer(question("Who are you?"), GREEDY)
