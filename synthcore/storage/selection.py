"""Selections: some rows of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from synthcore.storage.reader import Rows

Row = dict[str, Any]


class Selectable(Protocol):
    """What rows are selected of: a `Dataset`, which makes selections of itself."""

    def __getitem__(self, rows: int | Rows) -> Row: ...

    def column(self, name: str, rows: Rows = ...) -> NDArray[Any]: ...

    def feature(self, name: str, rows: Rows = ...) -> NDArray[Any]: ...


class Selection:
    """Some rows of a dataset, indexed as a `Dataset` is, from 0.

    Attributes
    ----------
    rows : ndarray, shape (R,), int
        Which rows of the dataset these are, ascending.
    """

    def __init__(self, dataset: Selectable, rows: NDArray[np.intp]) -> None:
        self.dataset, self.rows = dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Selection({len(self)} of the rows of {self.dataset!r})"

    def __getitem__(self, rows: int | Rows) -> Row:
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} is out of range: the selection has rows 0 to {len(self) - 1}")
            return self.dataset[int(self.rows[rows])]
        return self.dataset[self._rows(rows)]

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def batches(self, size: int) -> Iterator[Row]:
        """Iterate over consecutive batches of `size` rows; the last may be smaller."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def column(self, name: str, rows: Rows = slice(None)) -> NDArray[Any]:
        """Read one column, by default of all rows of the selection; see `Dataset.column`."""
        return self.dataset.column(name, self._rows(rows))

    def feature(self, name: str, rows: Rows = slice(None)) -> NDArray[Any]:
        """Read one feature, by default of all rows of the selection; see `Dataset.feature`."""
        return self.dataset.feature(name, self._rows(rows))

    def _rows(self, rows: Rows) -> Sequence[int]:
        # As numpy does it, but for an empty list, which numpy takes for floats.
        places = rows if isinstance(rows, slice) or len(rows) else slice(0)
        chosen: list[int] = self.rows[places].tolist()
        return chosen
