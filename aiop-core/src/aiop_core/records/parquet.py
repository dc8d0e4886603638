"""A graph cache as Parquet, for tools that know nothing of ours: one row a graph.

What a graph has many of, nodes and edges, stands in plain lists of numbers, one column for
each thing, because pandas and polars explode several such columns at once into a table of
nodes or edges, while lists of records come out as Python objects.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import CacheError
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.ops import Op
from aiop_core.records.cache import GraphCache

NODE_LISTS = (
    *("op", "h_in", "h_out", "w_in", "w_out", "c_in", "c_out", "kernel_h", "kernel_w"),
    *("stride_h", "stride_w", "groups", "bias", "node_params"),
)
"""Columns that are lists with one entry for each node."""

EDGE_LISTS = ("edge_source", "edge_target")
"""Columns that are lists with one entry for each edge: numbers of nodes in their lists."""


def write_parquet(cache: GraphCache, path: Path) -> None:
    """Write the file in one piece: a killed writer leaves the old one.

    Raises:
        CacheError: if pyarrow is missing, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise CacheError(f"writing {path} needs pyarrow: pip install 'aiop-core[parquet]'") from None
    graphs = cache.graphs
    nodes, edges = (offsets.astype(np.int32) for offsets in (graphs.node_offsets, graphs.edge_offsets))
    columns = graphs.columns
    names = np.array([op.name for op in Op])[columns["op"]]
    wide = [*columns["resolution"].T, *columns["kernel"].T, *columns["stride"].T]
    per_node: list[Any] = [names, *wide, columns["groups"], columns["bias"], columns["params"]]
    table = pa.table(
        {
            "family": pa.array(cache.families, pa.string()),
            "spec": pa.array(cache.specs, pa.string()),
            "fingerprint": pa.array(fingerprints(graphs), pa.string()),
            "label": pa.array(cache.labels),
            "macs": pa.array(cache.macs),
            "params": pa.array(cache.params),
            **{f"scores.{name}": pa.array(np.asarray(v), from_pandas=True) for name, v in graphs.scores.items()},
            **{
                name: pa.ListArray.from_arrays(nodes, pa.array(np.ascontiguousarray(values)))
                for name, values in zip(NODE_LISTS, per_node, strict=True)
            },
            **{
                name: pa.ListArray.from_arrays(edges, pa.array(np.ascontiguousarray(values)))
                for name, values in zip(EDGE_LISTS, graphs.edges, strict=True)
            },
        }
    ).replace_schema_metadata(
        {
            "aiop.metric": json.dumps(asdict(cache.metric)),
            "aiop.cost_source": cache.cost_source,
            "aiop.scores": json.dumps({name: dict(source) for name, source in cache.score_sources.items()}),
            "aiop.provenance": json.dumps(dict(cache.provenance)),
        }
    )
    part = path.with_name(path.name + ".part")
    try:
        parquet.write_table(table, part, compression="zstd")
        os.replace(part, path)
    except (OSError, pa.ArrowException) as error:
        raise CacheError(f"{path} cannot be written: {error}") from error
