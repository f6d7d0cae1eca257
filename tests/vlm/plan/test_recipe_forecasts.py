"""Every recipe for a card fits the card that its comment names, by its own forecast."""

import json
import re

import pytest

from tests.vlm.plan.recipe_forecasts import FILE, cut_forecast, recipes_for_cards
from vlm.recipes import find_recipe

CARD = re.compile(r"^# Card: one card of (\d+) GiB or more \(forecast: ([\d.]+) GiB; not measured\)\.", re.MULTILINE)
# A card reports up to 2 % less than its name says, and allocators hold more than tensors need.
ROOM = 0.9
FORECASTS: dict[str, dict[str, float]] = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_recipe_for_a_card_is_forecast() -> None:
    assert sorted(FORECASTS) == sorted(recipes_for_cards())


@pytest.mark.parametrize("name", sorted(FORECASTS))
def test_a_recipe_fits_the_card_that_it_names(name: str) -> None:
    found = CARD.search(find_recipe(name).read_text(encoding="utf-8"))
    assert found, "its comment names a card and the forecast"
    assert float(found[2]) == round(FORECASTS[name]["full"], 1)
    assert FORECASTS[name]["full"] <= ROOM * int(found[1])


@pytest.mark.parametrize("name", sorted(FORECASTS))
def test_the_forecast_is_that_of_today(name: str) -> None:
    """Otherwise `python -m tests.vlm.plan.recipe_forecasts NAME` forecasts anew, and the comment names the result."""
    assert cut_forecast(name) == pytest.approx(FORECASTS[name]["cut"], abs=0.002)
