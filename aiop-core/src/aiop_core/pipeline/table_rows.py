"""The rows of a CSV or Parquet table, numbered as a person finds them again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiop_core.errors import AiopError, DataError, LabelError
from aiop_core.options import suggest

csv.field_size_limit(2**20)

SEPARATORS = ",;\t"
"""Of cells; a table has the one that its header has most of."""

SHOWN_ROWS = 5
"""Rows that a message names; of the others it says how many."""


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        number: where it stands, as editors and spreadsheets count: the header of a CSV file is row 1.
        cells: by the names of their columns.
    """

    number: int
    cells: Mapping[str, Any]


def read_rows(path: Path, columns: Mapping[str, str]) -> list[Row]:
    """The rows of a table, limited to some columns.

    Args:
        path: a .csv or .parquet file.
        columns: their names, each with the flag that asks for it.

    Raises:
        DataError: if the file is missing, unreadable or empty.
        LabelError: if a column is missing, naming those that are there, or is there twice.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}; give a .csv or .parquet file with --table")
    try:
        header, rows = _read_parquet(path) if path.suffix in (".parquet", ".pq") else _read_csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a readable table ({error}); .csv and .parquet are read") from error
    if missing := [name for name in columns if name not in header]:
        asked = " and ".join(f"no column '{name}', which {columns[name]} asks for" for name in missing)
        raise LabelError(f"{path} has {asked}; {suggest(missing[0], header)}")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise LabelError(f"{path} has several columns '{twice[0]}'; rename all but one")
    if not rows:
        raise DataError(f"{path} has a header but no rows")
    return [Row(number, {name: cells[name] for name in columns}) for number, cells in rows]


def _read_csv(path: Path) -> tuple[list[str], list[Row]]:
    """Spaces around cells do not count, nor do rows without any content."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        separator = max(SEPARATORS, key=file.readline().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise ValueError("it is empty")
        cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    cells = [(number, row) for number, row in cells if any(row)]
    if bad := [number for number, row in cells if len(row) != len(header)]:
        raise ValueError(
            f"{rows_text(bad)}: more or fewer cells than the header, {len(header)}; "
            f"a cell that holds {separator!r} stands in double quotes"
        )
    return header, [Row(number, dict(zip(header, row, strict=True))) for number, row in cells]


def _read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"reading {path} needs pyarrow: pip install 'aiop-core[parquet]'") from None
    table = parquet.read_table(path)
    return table.column_names, [Row(number, cells) for number, cells in enumerate(table.to_pylist(), start=1)]


def rows_text(numbers: Sequence[int]) -> str:
    """``row 3``, or ``rows 3, 5, 9`` and how many more there are."""
    shown = ", ".join(map(str, numbers[:SHOWN_ROWS]))
    more = f" and {len(numbers) - SHOWN_ROWS} more" if len(numbers) > SHOWN_ROWS else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"


def bad_rows(path: Path, errors: Mapping[int, AiopError]) -> str:
    """What is wrong with which rows; advice that goes for several is given once."""
    if len(errors) == 1:
        [(number, error)] = errors.items()
        return f"{path}, row {number}: {error}"
    lines, said = [f"{path}: {len(errors)} rows cannot be used"], set()
    for number, error in sorted(errors.items())[:SHOWN_ROWS]:
        fact, _, advice = str(error).partition("; ")
        lines.append(f"  row {number}: {fact if advice in said else error}")
        said.add(advice)
    if len(errors) > SHOWN_ROWS:
        lines.append(f"  and {len(errors) - SHOWN_ROWS} more")
    return "\n".join(lines)
