"""Published labels: a CSV or Parquet table with one architecture a row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Family, Metric
from aiop_core.errors import AiopError, LabelError, ModelError, SpecError
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.pipeline.table_rows import bad_rows, read_rows, rows_text
from aiop_core.pipeline.table_specs import ArchitectureReader, FamilySpecs, ModelSpellings, Parsed
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import means, merged_isomorphic


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
    metric = table_metric(label, unit, higher_is_better=higher_is_better)
    return _cache(path, reader, metric, unit, spec_columns, score_columns, provenance, view)


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
    metric = table_metric(label, unit, higher_is_better=higher_is_better)
    return _cache(path, reader, metric, unit, spec_columns, score_columns, provenance, view)


def merge_isomorphic(cache: GraphCache, view: View) -> GraphCache:
    """One entry for each different network, its labels averaged; the number is said."""
    merged = merged_isomorphic(cache)
    if len(merged) < len(cache):
        view.say(
            f"{len(cache)} architectures are {len(merged)} different networks: labels of isomorphic ones are averaged"
        )
    return merged


def table_metric(label: str, unit: str, *, higher_is_better: bool) -> Metric:
    """The metric of a table's labels, which are stored as fractions where the table has percent."""
    return Metric(label, "fraction" if unit == "percent" else unit, higher_is_better)


def _cache(
    path: Path,
    reader: ArchitectureReader,
    metric: Metric,
    unit: str,
    spec_columns: Sequence[str],
    score_columns: Sequence[str],
    provenance: Mapping[str, Any],
    view: View,
) -> GraphCache:
    """Rows of equal architectures are merged, their labels averaged, and the number said."""
    flags = dict.fromkeys(spec_columns, "--spec-columns") | dict.fromkeys(score_columns, "--score-columns")
    rows = read_rows(path, {metric.name: "--label"} | flags)
    labels: dict[int, float] = {}
    scores: dict[str, list[float]] = {name: [] for name in score_columns}
    wrong: dict[int, AiopError] = {}
    for number, cells in rows:
        try:
            labels[number] = _label(cells, metric.name, unit)
            for name in score_columns:
                scores[name].append(_score(cells, name))
        except LabelError as error:
            wrong[number] = error
    if wrong:
        raise LabelError(bad_rows(path, wrong)) from next(iter(wrong.values()))
    if unit == "percent":
        _check_percent(path, metric.name, labels, view)
    rows_of: dict[Parsed, list[int]] = {}
    for number, cells in rows:
        try:
            rows_of.setdefault(reader.parse(spec_text(cells, spec_columns)), []).append(number)
        except (SpecError, ModelError) as error:
            wrong[number] = error
    if not wrong and len(rows_of) < len(rows):
        view.say(f"{len(rows)} rows describe {len(rows_of)} architectures: labels of equal ones are averaged")
    graphs = _graphs(path, reader, rows_of, wrong, view)
    kind_of = {number: kind for kind, numbers in enumerate(rows_of.values()) for number in numbers}
    of_kind = np.array([kind_of[number] for number, _ in rows])
    averaged = {name: means(np.array(column), of_kind, len(rows_of)) for name, column in scores.items()}
    cache = GraphCache.of(
        replace(GraphSet.of(graphs), scores=averaged),
        means(np.array(list(labels.values())), of_kind, len(rows_of)),
        [a.spec for a in rows_of],
        [a.family for a in rows_of],
        metric,
        provenance,
    )
    return replace(cache, score_sources={name: {"table": path.name, "column": name} for name in score_columns})


def _graphs(
    path: Path,
    reader: ArchitectureReader,
    rows_of: Mapping[Parsed, Sequence[int]],
    wrong: dict[int, AiopError],
    view: View,
) -> list[Graph]:
    """The graph of each architecture; those that may not exist come first, so that misspelt ones are known early.

    Args:
        path: the table's.
        reader: makes the graphs.
        rows_of: the rows that describe each architecture.
        wrong: what is wrong with rows that describe none.
        view: told how far it is.
    """
    found: dict[Parsed, Graph] = {}
    progress = view.stage("graphs")
    doubtful = {parsed for parsed in rows_of if reader.doubtful(parsed)}
    for part in (doubtful, rows_of.keys() - doubtful):
        for parsed in sorted(part, key=lambda one: rows_of[one][0]):
            try:
                found[parsed] = reader.graph(parsed)
            except SpecError as error:
                wrong |= dict.fromkeys(rows_of[parsed], error)
            else:
                progress(len(found), len(rows_of))
        if wrong:
            raise SpecError(bad_rows(path, wrong)) from next(iter(wrong.values()))
    return [found[parsed] for parsed in rows_of]


def _check_percent(path: Path, label: str, labels: Mapping[int, float], view: View) -> None:
    """Refuse labels that are all fractions, and tell of some that look so.

    A label of at most 1 looks like a fraction if times 100 it would be near the others.
    """
    if max(labels.values()) <= 0.01:
        raise LabelError(f"{path}: no label '{label}' is over 1 %; if they are fractions, say --label-unit fraction")
    others = [value for value in labels.values() if value > 0.01]
    low, high = min(others) / 2, max(others) * 2
    odd = {number: value for number, value in labels.items() if value <= 0.01 and low <= 100 * value <= high}
    if odd:
        first = 100 * next(iter(odd.values()))
        view.say(
            f"{path}, {rows_text(list(odd))}: a label '{label}' of {first:.4g} looks like a fraction among percents "
            f"and is taken as {first:.4g} %; if it is one, write {100 * first:.4g}, "
            "or write all as fractions and say --label-unit fraction"
        )


def _label(cells: Mapping[str, Any], label: str, unit: str) -> float:
    cell = cells[label]
    try:
        value = float(cell)
    except (TypeError, ValueError):
        point = "; write decimals with a point" if isinstance(cell, str) and "," in cell else ""
        raise LabelError(f"label '{label}' is {cell!r}, not a number{point}") from None
    if not math.isfinite(value):
        raise LabelError(f"label '{label}' is {value}; remove the row or mend the label")
    value = value / 100 if unit == "percent" else value
    if unit in ("percent", "fraction") and not 0 <= value <= 1:
        raise LabelError(f"label '{label}' is {cell}, outside the unit '{unit}'; see --label-unit")
    return value


def _score(cells: Mapping[str, Any], name: str) -> float:
    cell = cells[name]
    try:
        value = math.nan if cell is None or cell == "" else float(cell)
    except (TypeError, ValueError):
        value = math.inf
    if math.isinf(value):
        raise LabelError(f"score '{name}' is {cell!r}, not a number; leave it empty if it is not known")
    return value
