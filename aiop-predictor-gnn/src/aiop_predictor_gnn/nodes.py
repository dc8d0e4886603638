"""What the network reads of a node: operation, resolution, kernel and bias.

Source: AIO-P (AAAI-23), section 3 and ``comp_graph/tf_comp_graph.py`` of its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

from aiop_core.errors import WeightsError
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import PAPER_OPS, WEIGHTED, Op, paper_op

FIXED_MAXIMA = (256, 256, 256, 256, 512, 512)
"""(H_in, H_out, W_in, W_out, C_in, C_out) that count as 1 under ``normalise=fixed``; larger ones exceed it."""


@dataclass(frozen=True)
class Vocabulary:
    """Which operations and kernel sizes have an embedding of their own.

    Attributes:
        name: as the option spells it.
        ops: for each operation of :class:`~aiop_core.graph.ops.Op`, its row.
        op_names: what each row stands for.
        kernels: rows for kernel sizes 0, 1, 2 …; the last one also stands for all larger.
    """

    name: str
    ops: tuple[int, ...]
    op_names: tuple[str, ...]
    kernels: int

    def as_of(self, names: Sequence[str]) -> Vocabulary:
        """The vocabulary when it was these names; what came later is unknown to it.

        Raises:
            WeightsError: if it never was, since operations are only ever appended.
        """
        if tuple(names) != self.op_names[: len(names)] or not names:
            raise WeightsError(
                f"it knows {len(names)} operations that are not the first of this version's vocabulary "
                f"'{self.name}' ({len(self.op_names)}); fit the predictor again"
            )
        ops = tuple(row if row < len(names) else int(Op.OOV) for row in self.ops)
        return Vocabulary(self.name, ops, self.op_names[: len(names)], self.kernels)


VOCABULARIES = {
    "aiop": Vocabulary("aiop", tuple(range(len(Op))), tuple(op.name for op in Op), kernels=9),
    "paper": Vocabulary(
        "paper", tuple(paper_op(op) for op in Op), tuple(Op(i).name for i in range(PAPER_OPS)), kernels=8
    ),
}


@dataclass(frozen=True)
class NodeFeatures:
    """Node features as tensors.

    Attributes:
        op: rows of the vocabulary.
        resolution: normalised.
        kernel: (height, width), at most the vocabulary's largest; 0 unless ``weighted``.
        bias: 0 or 1; 0 unless ``weighted``.
        weighted: whether the operation has weights, so that kernel and bias mean something.
    """

    op: Int[Tensor, " n"]
    resolution: Float[Tensor, "n 6"]
    kernel: Int[Tensor, "n 2"]
    bias: Int[Tensor, " n"]
    weighted: Bool[Tensor, " n"]


@dataclass(frozen=True)
class NodeTable:
    """The same as numpy columns; see :class:`NodeFeatures`."""

    op: Int[np.ndarray, " n"]
    resolution: Float[np.ndarray, "n 6"]
    kernel: Int[np.ndarray, "n 2"]
    bias: Int[np.ndarray, " n"]
    weighted: Bool[np.ndarray, " n"]

    @classmethod
    def of(cls, graphs: GraphSet, vocabulary: Vocabulary, normalise: str) -> NodeTable:
        """Read every node of ``graphs``.

        Args:
            graphs: any number of them.
            vocabulary: what operations are called.
            normalise: ``fixed`` divides by ``FIXED_MAXIMA``, ``own_maxima`` by the largest
                height, width and channels in the same graph.
        """
        columns = graphs.columns
        op = columns["op"].astype(np.int64)
        resolution = columns["resolution"].astype(np.float32)
        if normalise == "fixed":
            resolution /= np.array(FIXED_MAXIMA, dtype=np.float32)
        elif len(graphs):
            largest = np.maximum.reduceat(resolution.reshape(-1, 3, 2).max(axis=2), graphs.node_offsets[:-1])
            resolution /= largest.repeat(2, axis=1)[graphs.graph_of_node]
        weighted = np.isin(np.arange(len(Op)), list(WEIGHTED))[op]
        kernel = np.clip(columns["kernel"], 0, vocabulary.kernels - 1).astype(np.int64) * weighted[:, None]
        return cls(
            np.array(vocabulary.ops)[op], resolution, kernel, columns["bias"] * weighted.astype(np.int64), weighted
        )

    def __len__(self) -> int:
        return len(self.op)

    def take(self, rows: Int[np.ndarray, " k"]) -> NodeTable:
        """The nodes at ``rows``, in that order."""
        return NodeTable(*(getattr(self, field.name)[rows] for field in fields(self)))

    def words(self) -> UInt[np.ndarray, "4 n"]:
        """Each node's features as four 64-bit words, equal if and only if all features are."""
        words: np.ndarray[Any, Any] = np.empty((4, len(self)), dtype=np.uint64)
        words[:3] = np.ascontiguousarray(self.resolution).view(np.uint64).T
        words[3] = (
            self.op
            | self.kernel[:, 0] << 16
            | self.kernel[:, 1] << 32
            | self.bias << 48
            | self.weighted.astype(np.int64) << 49
        )
        return words

    def tensors(self, device: str | torch.device) -> NodeFeatures:
        """The same on ``device``."""
        return NodeFeatures(*(torch.as_tensor(getattr(self, field.name), device=device) for field in fields(self)))
