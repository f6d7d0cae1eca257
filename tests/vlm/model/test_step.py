"""Steps of a vision run, however it is packed, against the same steps computed independently in plain torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import gelu
from transformers import AutoTokenizer, CLIPVisionModel, LlamaForCausalLM

from tests.by_hand import FACTORS, OPTIM, Adam, Record, Step, Turns, assert_equal_steps, chatml, mean_loss
from tests.vlm.runs import recipe
from vlm.model.runs import train

SIDE, PATCHES, WIDTH = 32, 16, 32  # of the tiny CLIP: pixels a side, patches of 8 x 8 and channels
MEAN, STD = (0.4, 0.5, 0.6), (0.26862954, 0.26130258, 0.27577711)  # its own mean, CLIP's deviation
IMAGES = ((250, 20, 20), (20, 20, 240), (30, 200, 40))
# (image or None, turns): the first two ask about one image, which folding shares.
ASKED: tuple[tuple[int | None, Turns], ...] = (
    (0, (("what color is it, all in all?", "red"), ("sure?", "yes"))),
    (0, (("what color is it, all in all? tell", "red"),)),
    (1, (("what color?", "blue, I think"),)),
    (None, (("hello?", "hi"),)),
    (2, (("green?", "y"), ("blue?", "no, not at all"))),
)


def drawn(name: str, *shape: int) -> Tensor:
    """Weights of the projector, the same in every test."""
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(len(name)))


PROJECTOR = {
    "0.weight": drawn("a", WIDTH, WIDTH),
    "0.bias": drawn("bb", WIDTH),
    "2.weight": drawn("ccc", WIDTH, WIDTH),
    "2.bias": drawn("dddd", WIDTH),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the tower's own size, the records, and the projector's first weights."""
    folder = tmp_path_factory.mktemp("step")
    rows = []
    noise = np.random.default_rng(0)
    for index, colour in enumerate(IMAGES):
        pixels = np.clip(np.array(colour) + noise.integers(-20, 20, (SIDE, SIDE, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    for picture, turns in ASKED:
        values = []
        for number, (question, answer) in enumerate(turns):
            shown = "<image>\n" if number == 0 and picture is not None else ""
            values += [{"from": "human", "value": shown + question}, {"from": "gpt", "value": answer}]
        rows.append({"conversations": values} | ({} if picture is None else {"image": f"{picture}.png"}))
    (folder / "train.json").write_text(json.dumps(rows))
    torch.save({f"model.mm_projector.{name}": value for name, value in PROJECTOR.items()}, folder / "projector.bin")
    return folder


def features_of(clip: Path, folder: Path, picture: int) -> Tensor:
    """[16, 32]: what the last layer but one of the tower makes of each patch."""
    tower = CLIPVisionModel.from_pretrained(clip, attn_implementation="eager").eval()
    pixels = torch.from_numpy(np.array(Image.open(folder / f"{picture}.png"))).double() / 255
    normal = ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1).float()
    with torch.no_grad():
        return tower(normal[None], output_hidden_states=True).hidden_states[-2][0, 1:]


@pytest.fixture(scope="module", params=["pretrain", "finetune"])
def expected(request: pytest.FixtureRequest, roomy_llm: Path, clip: Path, folder: Path) -> tuple[str, list[Step]]:
    """The stage, and four steps over all records, computed independently."""
    stage = request.param
    tokenizer = AutoTokenizer.from_pretrained(roomy_llm)
    llm = LlamaForCausalLM.from_pretrained(roomy_llm, dtype=torch.float32, attn_implementation="eager")
    llm.requires_grad_(stage == "finetune")
    weights = {f"linears.{int(name[0]) // 2}.{name[2:]}": value.clone() for name, value in PROJECTOR.items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    features = [features_of(clip, folder, picture) for picture in range(len(IMAGES))]
    mark = -1  # where an image's rows stand
    rows = [
        (picture, chatml(tokenizer, turns, image=(mark, 0 if picture is None else PATCHES))) for picture, turns in ASKED
    ]
    seen = {id(row): picture for picture, row in rows}

    def logits(row: Record) -> Tensor:
        ids = torch.tensor(row.ids)
        embeds = llm.get_input_embeddings()(ids.clamp(min=0))
        picture = seen[id(row)]
        if picture is not None:
            middle = gelu(features[picture] @ weights["linears.0.weight"].T + weights["linears.0.bias"])
            rows = middle @ weights["linears.1.weight"].T + weights["linears.1.bias"]
            embeds = embeds.index_put((torch.nonzero(ids == mark)[:, 0],), rows)
        return llm(inputs_embeds=embeds[None], use_cache=False).logits[0]

    trained = {name: weight for name, weight in llm.named_parameters() if weight.requires_grad}
    adam = Adam(trained | weights)
    steps: list[Step] = []
    for factor in FACTORS:
        loss = mean_loss(logits, [row for _, row in rows])
        loss.backward()
        norm = adam.move(factor)
        steps.append((loss.item(), norm, {name: weight.detach().clone() for name, weight in adam.weights.items()}))
    return stage, steps


WAYS: dict[str, dict[str, Any]] = {
    "one-pack": {"pack_tokens": 4096, "fold": "off"},
    "many-packs": {"pack_tokens": 110, "fold": "off"},
    "folded": {"pack_tokens": 4096},
    "transformers-layers": {"pack_tokens": 4096, "lean": "off"},
}


@pytest.mark.parametrize("way", WAYS)
def test_losses_gradients_and_updates_are_those_computed_independently(
    way: str, expected: tuple[str, list[Step]], roomy_llm: Path, clip: Path, folder: Path, tmp_path: Path
) -> None:
    stage, steps = expected
    tune = {"kind": "full"} if stage == "finetune" else {}
    train_part = {"epochs": len(FACTORS), "batch": len(ASKED), "save_every": 1, "keep": len(FACTORS)}
    config = recipe(
        roomy_llm,
        clip,
        folder / "train.json",
        tmp_path / "run",
        stage,
        model={"projector_weights": str(folder / "projector.bin"), "standardise": False},
        tune=tune,
        optim=OPTIM,
        train=train_part | WAYS[way],
    )
    statistics = {"projector.mean": torch.zeros(WIDTH), "projector.std": torch.ones(WIDTH)}  # standardise: false
    assert_equal_steps(train(config, Path.cwd()), [(loss, norm, weights | statistics) for loss, norm, weights in steps])
