"""Published labels: a CSV or Parquet table with one architecture a row."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Family, Metric
from aiop_core.errors import DataError, LabelError, ModelError, SpecError
from aiop_core.graph.model import GraphSet
from aiop_core.options import suggest
from aiop_core.pipeline.table_specs import ArchitectureReader, FamilySpecs, ModelSpellings, Parsed
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import means, merged_isomorphic

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
    score_columns: Sequence[str] = (),
    higher_is_better: bool = True,
) -> GraphCache:
    """A table's labels with the graphs of a family's networks.

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
        score_columns: columns of numbers that stand beside the graphs; an empty cell is not known.
        higher_is_better: the direction of the labels.

    Raises:
        DataError: if the table cannot be read.
        LabelError: if a column is missing, a label is no finite number, or a score no number.
        SpecError: if a row describes no architecture of the family.
    """
    reader = FamilySpecs(family_name, family, input_hw)
    metric = Metric(label, unit, higher_is_better)
    return _cache(path, reader, metric, spec_columns, score_columns, provenance, view)


def models_cache(
    registry: PluginRegistry,
    path: Path,
    *,
    label: str,
    spec_columns: Sequence[str],
    unit: str,
    input_shape: tuple[int, ...] | None,
    provenance: Mapping[str, Any],
    view: View,
    score_columns: Sequence[str] = (),
    higher_is_better: bool = True,
) -> GraphCache:
    """A table's labels with the graphs of models as users spell them: ``timm:resnet18``, ``family:spec``, ``net.onnx``.

    Args:
        registry: knows families and zoos.
        path: a .csv or .parquet file.
        label: the column of measured values.
        spec_columns: the one column of models.
        unit: as in ``table_cache``.
        input_shape: (channels, height, width), for models that leave it open.
        provenance: written into the cache.
        view: told how far it is.
        score_columns: as in ``table_cache``.
        higher_is_better: as in ``table_cache``.

    Raises:
        DataError: if the table cannot be read.
        LabelError: as in ``table_cache``.
        SpecError: if a row names no model, or one that has no graph.
    """
    if len(spec_columns) != 1:
        raise LabelError(
            f"models stand in one column, not in {', '.join(spec_columns)}; name it with --spec-columns, "
            "or the family of the specs with --family"
        )
    reader = ModelSpellings(registry, input_shape)
    metric = Metric(label, unit, higher_is_better)
    return _cache(path, reader, metric, spec_columns, score_columns, provenance, view)


def merge_isomorphic(cache: GraphCache, view: View) -> GraphCache:
    """One entry for each different network, its labels averaged; the number is said."""
    merged = merged_isomorphic(cache)
    if len(merged) < len(cache):
        view.say(
            f"{len(cache)} architectures are {len(merged)} different networks: labels of isomorphic ones are averaged"
        )
    return merged


def _cache(
    path: Path,
    reader: ArchitectureReader,
    metric: Metric,
    spec_columns: Sequence[str],
    score_columns: Sequence[str],
    provenance: Mapping[str, Any],
    view: View,
) -> GraphCache:
    """Rows of equal architectures are merged, their labels averaged, and the number said."""
    label, unit = metric.name, metric.unit
    rows = read_columns(path, list(dict.fromkeys([label, *spec_columns, *score_columns])))
    numbers: dict[Parsed, int] = {}
    kind, values = [], []
    scores: dict[str, list[float]] = {name: [] for name in score_columns}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        values.append(_label(row, label, unit, where))
        for name in score_columns:
            scores[name].append(_score(row, name, where))
        try:
            architecture = reader.parse(spec_text(row, spec_columns))
        except (SpecError, ModelError) as error:
            raise SpecError(f"{where}: {error}") from error
        kind.append(numbers.setdefault(architecture, len(numbers)))
    if unit == "percent" and max(values) <= 0.01:
        raise LabelError(f"{path}: no label '{label}' is over 1 %; if they are fractions, say --label-unit fraction")
    if len(numbers) < len(rows):
        view.say(f"{len(rows)} rows describe {len(numbers)} architectures: labels of equal ones are averaged")
    progress = view.stage("graphs")
    graphs = []
    for done, architecture in enumerate(numbers, start=1):
        graphs.append(reader.graph(architecture))
        progress(done, len(numbers))
    of_kind = np.array(kind)
    averaged = {name: means(np.array(column), of_kind, len(numbers)) for name, column in scores.items()}
    cache = GraphCache.of(
        replace(GraphSet.of(graphs), scores=averaged),
        means(np.array(values), of_kind, len(numbers)),
        [a.spec for a in numbers],
        [a.family for a in numbers],
        replace(metric, unit="fraction" if unit == "percent" else unit),
        provenance,
    )
    return replace(cache, score_sources={name: {"table": path.name, "column": name} for name in score_columns})


def _label(row: Mapping[str, Any], label: str, unit: str, where: str) -> float:
    try:
        value = float(row[label])
    except (TypeError, ValueError):
        raise LabelError(f"{where}: label '{label}' is {row[label]!r}, not a number") from None
    if not math.isfinite(value):
        raise LabelError(f"{where}: label '{label}' is {value}; remove the row or mend the label")
    value = value / 100 if unit == "percent" else value
    if unit in ("percent", "fraction") and not 0 <= value <= 1:
        raise LabelError(f"{where}: label '{label}' is {row[label]}, outside the unit '{unit}'; see --label-unit")
    return value


def _score(row: Mapping[str, Any], name: str, where: str) -> float:
    cell = row[name]
    try:
        value = math.nan if cell is None or cell == "" else float(cell)
    except (TypeError, ValueError):
        raise LabelError(
            f"{where}: score '{name}' is {cell!r}, not a number; leave it empty if it is not known"
        ) from None
    if math.isinf(value):
        raise LabelError(f"{where}: score '{name}' is {cell!r}, not a number; leave it empty if it is not known")
    return value
