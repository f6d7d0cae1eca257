"""Columns are read as they were written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.data.memmap_columns import ColumnWriter, TextColumn, TextListColumn, read_numbers


@settings(max_examples=40, deadline=None)
@given(lists=st.lists(st.lists(st.text(max_size=8), max_size=4), max_size=12))
def test_lists_of_texts_are_read_as_written(lists: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("columns")
    with ColumnWriter(folder) as columns:
        columns.add_numbers("offsets", np.zeros(1, np.int64))
        for end, texts in zip(np.cumsum([len(texts) for texts in lists]), lists, strict=True):
            columns.add_texts("texts", texts)
            columns.add_numbers("offsets", np.array([end], np.int64))
    found = TextListColumn(TextColumn(folder, "texts"), read_numbers(folder, "offsets", np.int64))
    assert len(found) == len(lists)
    assert [*found] == lists == found[:] == [found[index] for index in range(len(lists))]


def test_texts_are_indexed_as_a_list(tmp_path: Path) -> None:
    with ColumnWriter(tmp_path) as columns:
        columns.add_texts("texts", ["一", "", "ab"])
    texts = TextColumn(tmp_path, "texts")
    assert [*texts] == ["一", "", "ab"] and texts[-1] == "ab" and texts[1:] == ["", "ab"]
    with pytest.raises(IndexError):
        texts[3]


def test_a_column_without_a_file_is_empty(tmp_path: Path) -> None:
    assert len(read_numbers(tmp_path, "nothing", np.int64)) == 0
    assert [*TextColumn(tmp_path, "nothing")] == []
