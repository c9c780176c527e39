"""Published rows as Parquet files, in the conventions of Hugging Face.

Audio is a struct of bytes and path, and the schema's metadata says what their library reads as features, so that
`datasets.load_dataset(folder)` gives playable audio.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError, SynthcoreError
from synthcore.publishing.coding import CodedAudio
from synthcore.publishing.published_rows import Batch, Columns
from synthcore.storage import AudioCoding

if TYPE_CHECKING:
    import pyarrow as pa


def require_pyarrow() -> None:
    """Refuse to begin without the library that Parquet takes.

    Raises
    ------
    SynthcoreError
    """
    try:
        import pyarrow  # noqa: F401  tried only
    except ImportError as error:
        raise SynthcoreError("publishing needs pyarrow: pip install 'synthcore[publish]'") from error


class ParquetWriter:
    """Writes one file, a batch to a row group. Use it as a context.

    Parameters
    ----------
    file : binary file
    sample_rate : int
        In Hz.
    coding : {"flac", "wav"}, optional
        None in a recipe.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, coding: AudioCoding | None) -> None:
        self._file, self._sample_rate, self._coding = file, sample_rate, coding
        self._writer: Any = None

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def add(self, batch: Batch) -> None:
        """Write rows behind those that are there."""
        import pyarrow.parquet as pq

        table = _table(batch, self._sample_rate, self._coding)
        if self._writer is None:
            # Statistics help to find rows by what these columns say; of sound, they would repeat the sound.
            plain = [field.name for field in table.schema if not field.type.num_fields]
            leaves = [f"{name}{'.list.element' * depth}" for name, depth in _depths(table.schema)]
            self._writer = pq.ParquetWriter(
                self._file,
                table.schema,
                compression=dict.fromkeys(leaves, "zstd"),  # FLAC is compressed, and WAV is read faster as it is
                use_dictionary=plain,
                write_statistics=plain,
            )
        self._writer.write_table(table, row_group_size=len(batch))


def read_batches(path: Path) -> Iterator[Batch]:
    """Read a file that `ParquetWriter` wrote, a row group at a time.

    Raises
    ------
    DatasetError
        It isn't such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                columns = {name: _values(table[name]) for name in table.column_names if name != "audio"}
                coded = table["audio"].to_pylist() if "audio" in table.column_names else []
                scales = columns.get("audio_scale", np.ones(len(table), np.float32)).tolist()
                audio = (CodedAudio(one["bytes"], scale) for one, scale in zip(coded, scales, strict=False))
                yield Batch(columns, tuple(audio))
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def to_array(values: NDArray[Any]) -> pa.Array:
    """Make a column of Arrow's: lists of fixed length where a row has several values, text where it has bytes."""
    import pyarrow as pa

    flat = values.reshape(-1)
    array = pa.array([text.decode() for text in flat.tolist()]) if flat.dtype.kind == "S" else pa.array(flat)
    for length in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array


def write_table(file: BinaryIO, columns: Columns) -> None:
    """Write a small table as one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: to_array(values) for name, values in columns.items()}), file, compression="zstd")


def read_table(path: Path) -> Columns:
    """Read what `write_table` wrote; text as bytes.

    Raises
    ------
    DatasetError
        It isn't such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        return {name: _values(table[name]) for name in table.column_names}
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DatasetError:
    """Say in one line that a file isn't what was published."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DatasetError(f"{path} is damaged ({reason}); get the published files again")


def _table(batch: Batch, sample_rate: int, coding: AudioCoding | None) -> pa.Table:
    import pyarrow as pa

    arrays = {"row": to_array(batch.columns["row"])}
    if coding:
        names = [f"row-{row:09d}.{coding}" for row in batch.columns["row"].tolist()]
        contents = pa.array([coded.content for coded in batch.audio], pa.binary())
        arrays["audio"] = pa.StructArray.from_arrays([contents, pa.array(names)], ["bytes", "path"])
    arrays |= {name: to_array(values) for name, values in batch.columns.items() if name != "row"}
    features = {name: _feature(array.type) for name, array in arrays.items()}
    if coding:
        features["audio"] = {"sampling_rate": sample_rate, "_type": "Audio"}
    return pa.table(arrays, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _depths(schema: pa.Schema) -> Iterator[tuple[str, int]]:
    """Columns besides the audio, and how many lists each is wrapped in."""
    import pyarrow as pa

    for field in schema:
        kind, depth = field.type, 0
        while pa.types.is_fixed_size_list(kind):
            kind, depth = kind.value_type, depth + 1
        if field.name != "audio":
            yield field.name, depth


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """What Hugging Face calls a column of this type."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):  # every version of their library reads Sequence, only new ones List
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column as an array of numpy's: text as bytes."""
    import pyarrow as pa

    array = column.combine_chunks()
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    if pa.types.is_string(array.type):
        return np.array([text.encode() for text in array.to_pylist()], dtype="S").reshape(shape)
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.reshape(shape)
