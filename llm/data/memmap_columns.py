"""Long columns on disk: written value by value, mapped when read, so that a million records take no memory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray


class ColumnWriter:
    """Appends to the files of a folder; the files of one name are one column. Use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files, self._open = folder, dict[str, BinaryIO](), ExitStack()

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add_numbers(self, name: str, values: NDArray[Any]) -> None:
        """Append numbers; a column has one dtype, which the reader names."""
        self._file(name).write(np.ascontiguousarray(values).tobytes())

    def add_texts(self, name: str, values: Iterable[str]) -> None:
        """Append texts: their bytes in one file, where each ends in another."""
        data, ends = self._file(f"{name}.text"), self._file(f"{name}.end")
        for value in values:
            data.write(value.encode())
            ends.write(np.int64(data.tell()).tobytes())

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = self._open.enter_context((self._folder / name).open("wb"))
        return self._files[name]


def read_numbers(folder: Path, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A column of numbers; one that nothing was ever written to is empty."""
    path = folder / name
    if not path.exists() or not path.stat().st_size:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))  # a plain view: memmap's own slicing is many times slower


class TextColumn(Sequence[str]):
    """A column of texts; each is decoded when it is asked for."""

    def __init__(self, folder: Path, name: str) -> None:
        self._data = read_numbers(folder, f"{name}.text", np.uint8)
        self._ends = read_numbers(folder, f"{name}.end", np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # counts from the end, raises IndexError
        start = int(self._ends[index - 1]) if index else 0
        return self._data[start : int(self._ends[index])].tobytes().decode()


class TextListColumn(Sequence[list[str]]):
    """TextColumn by owner: `[i]` lists those of owner i, which stand from offsets[i] to offsets[i + 1]."""

    def __init__(self, texts: TextColumn, offsets: NDArray[np.int64]) -> None:
        self.texts, self.offsets = texts, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> list[str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...

    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self.texts[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def __iter__(self) -> Iterator[list[str]]:
        return (self[index] for index in range(len(self)))
