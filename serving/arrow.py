"""Arrow over HTTP: a column of ids in, columns of scores out, without a word of JSON a customer.

pyarrow is loaded by the first question that needs it.
"""

import io
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from features.lean import lean
from serving.problems import Offender, Problem

STREAM = b"application/vnd.apache.arrow.stream"
PARQUET = b"application/vnd.apache.parquet"
COLUMN = "customer_id"
MOST = 100_000  # customers in one request
MAX_ID = 256  # characters
MAX_BODY = 32 << 20  # bytes; so many ids of 100 characters are a third of it

_HEADER, _COMPRESSION = 2, 3  # places of fields in Arrow's Message.fbs: of a Message, of a RecordBatch


@cache
def arrow() -> Any:
    """The module pyarrow, in a process that serves: it looks for pandas once, and finds none."""
    with lean():
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet

        pyarrow.array([0])
    return pyarrow


def ids_of(body: bytes) -> list[str]:
    """The ids of a stream with one column of text, `customer_id`: 1 to MOST, of 1 to MAX_ID characters.

    Problem 400 for what is no Arrow stream, 422 for one that does not fit. Nothing that a body claims is
    believed before it was checked: a compressed one could claim any size.
    """
    pa = arrow()
    try:
        _refuse_compressed(pa, body)
        with pa.ipc.open_stream(body) as stream:
            schema = stream.schema
            if schema.names != [COLUMN] or schema[0].type not in (pa.string(), pa.large_string()):
                raise _unfit("$", f"expected one column, {COLUMN}, of text (utf8 or large_utf8)")
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, struct.error, EOFError, ValueError):
        raise Problem(
            400, "malformed_arrow", "the body is not a valid Arrow stream (pyarrow.ipc.new_stream writes one)"
        ) from None
    if not 1 <= len(table) <= MOST:
        raise _unfit(f"$.{COLUMN}", f"expected 1 to {MOST:,} rows")
    column = table[COLUMN]
    lengths = pa.compute.utf8_length(column)
    if column.null_count or pa.compute.min(lengths).as_py() < 1 or pa.compute.max(lengths).as_py() > MAX_ID:
        raise _unfit(f"$.{COLUMN}", f"expected text of 1 to {MAX_ID} characters in every row")
    ids: list[str] = column.to_pylist()
    return ids


def stream_of(table: Any) -> bytes:
    """A table as an Arrow stream."""
    pa = arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    done: bytes = sink.getvalue().to_pybytes()
    return done


def streamed(path: Any) -> Iterator[bytes]:
    """A parquet file as an Arrow stream, a part at a time. OSError if it is gone."""
    pa = arrow()
    with pa.parquet.ParquetFile(path) as file:
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, file.schema_arrow) as writer:
            for number in range(file.num_row_groups):
                writer.write_table(file.read_row_group(number))
                yield _taken(sink)
        yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """What was written, which then makes room."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written


def _unfit(path: str, expected: str) -> Problem:
    return Problem(422, "invalid_request", f"{path}: {expected}", [Offender(path, expected)])


def _refuse_compressed(pa: Any, body: bytes) -> None:
    """Problem 422 for compressed batches, whose size nobody knows before they are in memory."""
    for message in pa.ipc.MessageReader.open_stream(body):
        if message.type == "record batch" and _says_compression(message.metadata.to_pybytes()):
            raise _unfit("$", "expected batches without compression")


def _says_compression(metadata: bytes) -> bool:
    """Whether a RecordBatch's flatbuffer has the field `compression`. struct.error if it is none."""
    (message,) = struct.unpack_from("<I", metadata)
    header = _field(metadata, message, _HEADER)
    if header is None:
        raise struct.error("a message without a header")
    (offset,) = struct.unpack_from("<I", metadata, header)
    return _field(metadata, header + offset, _COMPRESSION) is not None


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a flatbuffer's table has its field of that number; None if it has not."""
    (back,) = struct.unpack_from("<i", buffer, table)
    vtable = table - back
    size, _ = struct.unpack_from("<HH", buffer, vtable)
    if 4 + 2 * number >= size:
        return None
    (offset,) = struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)
    return table + offset if offset else None
