"""Published labels: a CSV or Parquet table with one architecture a row."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiop_core.contracts import Family, Metric
from aiop_core.errors import AiopError, DataError, LabelError, SpecError
from aiop_core.graph.model import GraphSet
from aiop_core.options import suggest
from aiop_core.pipeline.view import View
from aiop_core.records.cache import GraphCache

csv.field_size_limit(2**20)


def read_columns(path: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table, limited to the named columns.

    Raises:
        DataError: if the file is missing, unreadable or empty.
        LabelError: if a column is missing, naming those that are there.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}; give a .csv or .parquet file with --table")
    try:
        columns, rows = _read_parquet(path) if path.suffix in (".parquet", ".pq") else _read_csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a readable table ({error}); .csv and .parquet are read") from error
    for name in names:
        if name not in columns:
            raise LabelError(f"{path} has no column '{name}'; {suggest(name, columns)}")
    if not rows:
        raise DataError(f"{path} has a header but no rows")
    return [{name: row[name] for name in names} for row in rows]


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        if not reader.fieldnames:
            raise ValueError("it is empty")
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a row has more or fewer cells than the header")
        return list(reader.fieldnames), rows


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"reading {path} needs pyarrow: pip install 'aiop-core[parquet]'") from None
    table = parquet.read_table(path)
    return table.column_names, table.to_pylist()


def spec_text(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """What the family parses: one column's text, or several as a JSON object by name.

    A cell that holds JSON (``[3, 5, 7]``) stands in the object as what it is.
    """
    if len(columns) == 1:
        value = row[columns[0]]
        return value if isinstance(value, str) else json.dumps(value)

    def plain(cell: Any) -> Any:
        if not isinstance(cell, str):
            return cell
        try:
            return json.loads(cell)
        except ValueError:
            return cell

    return json.dumps({name: plain(row[name]) for name in columns})


def table_cache(
    path: Path,
    *,
    family_name: str,
    family: Family[Any],
    label: str,
    spec_columns: Sequence[str],
    unit: str,
    input_hw: tuple[int, int],
    provenance: Mapping[str, Any],
    view: View,
) -> GraphCache:
    """A table's labels with the graphs of the family's networks.

    Rows of equal architectures are merged, their labels averaged, and the number said.

    Args:
        path: a .csv or .parquet file.
        family_name: as registered.
        family: parses the specs and makes the graphs.
        label: the column of measured values.
        spec_columns: the column or columns that describe the architecture.
        unit: ``percent`` (stored as fractions), ``fraction``, or any other unit's name.
        input_hw: at which resolution the networks were measured.
        provenance: written into the cache.
        view: told how far it is.

    Raises:
        DataError: if the table cannot be read.
        LabelError: if a column is missing or a label is no finite number.
        SpecError: if a row describes no architecture of the family.
    """
    rows = read_columns(path, [label, *spec_columns])
    architectures: dict[str, Any] = {}
    values: dict[str, list[float]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        try:
            value = float(row[label])
        except (TypeError, ValueError):
            raise LabelError(f"{where}: label '{label}' is {row[label]!r}, not a number") from None
        if not math.isfinite(value):
            raise LabelError(f"{where}: label '{label}' is {value}; remove the row or mend the label")
        value = value / 100 if unit == "percent" else value
        if unit in ("percent", "fraction") and not 0 <= value <= 1:
            raise LabelError(f"{where}: label '{label}' is {row[label]}, outside the unit '{unit}'; see --label-unit")
        try:
            architecture = family.parse(spec_text(row, spec_columns))
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error
        architectures[architecture.spec] = architecture
        values.setdefault(architecture.spec, []).append(value)
    if unit == "percent" and all(v <= 0.01 for found in values.values() for v in found):
        raise LabelError(f"{path}: no label '{label}' is over 1 %; if they are fractions, say --label-unit fraction")
    if len(architectures) < len(rows):
        view.say(f"{len(rows)} rows describe {len(architectures)} architectures: labels of equal ones are averaged")
    progress = view.stage("graphs")
    graphs = []
    for done, architecture in enumerate(architectures.values(), start=1):
        graphs.append(_graph(family, architecture, input_hw))
        progress(done, len(architectures))
    return GraphCache.of(
        GraphSet.of(graphs),
        [sum(v) / len(v) for v in values.values()],
        list(architectures),
        [family_name] * len(architectures),
        Metric(label, "fraction" if unit == "percent" else unit),
        provenance,
    )


def _graph(family: Family[Any], architecture: Any, input_hw: tuple[int, int]) -> Any:
    try:
        return family.graph(architecture, input_hw)
    except AiopError as error:
        raise SpecError(f"{architecture.spec} has no graph at {input_hw[0]}x{input_hw[1]}: {error}") from error
