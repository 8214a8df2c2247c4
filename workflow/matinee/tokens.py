"""Token rows on disk: Parquet with ids, mask and id, written and read in batches."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matinee.batching import Row
from matinee.rendering import TokenRow

BATCH = 1000


class TokenWriter:
    """Writes rows to one Parquet file."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema(
            [
                ("id", pa.string()),
                ("ids", pa.list_(pa.int32())),
                ("mask", pa.list_(pa.int8())),
                ("truncated", pa.bool_()),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[TokenRow] = []

    def write(self, row: TokenRow) -> None:
        """Adds one row."""
        self._waiting.append(row)
        if len(self._waiting) == BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        columns: dict[str, list[Any]] = {
            name: [getattr(row, name) for row in self._waiting] for name in self._schema.names
        }
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._waiting:
            self._flush()
        self._writer.close()


def read_tokens(path: Path) -> list[Row]:
    """All rows as (ids, mask)."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["ids", "mask"])
    return list(zip(table["ids"].to_pylist(), table["mask"].to_pylist(), strict=True))
