"""Token rows on disk: Parquet with ids, mask and id, written and read in batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.messages.rendering import TokenRow
from matinee.models.packing import MaskedIds
from matinee.runtime.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def schema() -> pa.Schema:
    """The columns of a file of token rows."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("ids", pa.list_(pa.int32())),
            ("mask", pa.list_(pa.int8())),
            ("truncated", pa.bool_()),
            ("held_out", pa.bool_()),
        ]
    )


def as_batch(rows: Sequence[TokenRow]) -> pa.RecordBatch:
    """The rows as columns, which are small and quick to hand from process to process."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in schema().names
    }
    return pa.record_batch(columns, schema=schema())


def token_writer(path: Path) -> pq.ParquetWriter:
    """Writes batches of rows to one file; to be closed."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema(), compression="zstd")


def read_tokens(path: Path, *, held_out: bool = False) -> list[MaskedIds]:
    """The rows to train on, or those held out, as (ids, mask).

    Raises DataError for a file that is damaged.
    """
    table = _read(path, held_out)
    return list(zip(table["ids"].to_pylist(), table["mask"].to_pylist(), strict=True))


def read_some(path: Path, positions: Sequence[int]) -> list[TokenRow]:
    """The rows to train on at these positions, from 0; silent rows, of one token, do not count."""
    import pyarrow.compute as pc

    table = _read(path, held_out=False)
    table = table.filter(pc.greater(pc.list_value_length(table["ids"]), 1)).take(list(positions))
    return [TokenRow(**values) for values in table.to_pylist()]


def _read(path: Path, held_out: bool) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, filters=[("held_out", "==", held_out)])
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}). Delete it and give the same "
            "command again: it is made anew."
        ) from error
