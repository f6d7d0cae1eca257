"""What of a ready model is tower and what projector, and their learning rates."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.vlm.ready.families import FAMILIES
from tests.vlm.ready.test_training import recipe
from vlm.model.runs import open_model, open_run, train
from vlm.ready.parts import projector_modules
from vlm.ready.ready_model import ReadyVlm

PROJECTORS = {  # written from the classes' code
    "llava": {"multi_modal_projector"},
    "llava_next": {"multi_modal_projector"},
    "llava_onevision": {"multi_modal_projector"},
    "internvl": {"multi_modal_projector"},
    "gemma3": {"multi_modal_projector"},
    "idefics3": {"connector"},
    "qwen2_vl": {"visual.merger"},
    "qwen2_5_vl": {"visual.merger"},
    "qwen3_vl": {"visual.merger", "visual.deepstack_merger_list"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_projector_is_found(name: str, opened: Callable[[str], ReadyVlm]) -> None:
    vlm = opened(name)
    names = {id(inner): found for found, inner in vlm.body.named_modules()}
    assert {names[id(part)] for part in projector_modules(vlm)} == PROJECTORS[name]


def test_rates_of_their_own(family: Callable[[str], Path], tmp_path: Path) -> None:
    tune, optim = {"kind": "lora", "tower": "full"}, {"tower_lr": 1e-5, "projector_lr": 2e-5}
    opened = open_model(recipe(tmp_path, family("llava_next"), tune=tune, optim=optim))
    groups = {group.name: group for group in opened.groups}
    assert {name: group.lr for name, group in groups.items()} == {"llm": 1e-2, "tower": 1e-5, "projector": 2e-5}
    trained = [parameter for group in opened.groups for parameter in group.parameters]
    assert len(set(trained)) == len(trained) == sum(one.requires_grad for one in opened.model.parameters())
    vlm = opened.model.vlm
    assert isinstance(vlm, ReadyVlm) and vlm.loose[0] in set(groups["projector"].parameters)


@pytest.mark.parametrize(
    ("name", "tune", "moves"),
    [
        ("qwen3_vl", {"projector": "full"}, {"merger", "deepstack_merger_list"}),
        ("qwen3_vl", {"tower": "full", "projector": "frozen"}, {"blocks", "patch_embed", "pos_embed"}),
        (
            "qwen3_vl",
            {"tower": "lora", "tower_rank": 4, "projector": "full"},
            {"blocks", "merger", "deepstack_merger_list"},
        ),
    ],
)
def test_what_is_named_moves_alone(
    name: str, tune: dict[str, object], moves: set[str], family: Callable[[str], Path], tmp_path: Path
) -> None:
    config = recipe(tmp_path, family(name), tune={"kind": "frozen", **tune})
    before = {key: value.clone() for key, value in open_model(config).model.state_dict().items()}
    after = open_run(train(config, tmp_path)).model.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert {key.split("visual.")[1].split(".")[0] for key in moved} == moves
