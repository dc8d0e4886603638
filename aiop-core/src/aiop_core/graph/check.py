"""What must hold in the graph of any network, beyond what a :class:`Graph` refuses to be without."""

from __future__ import annotations

import numpy as np

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op

_SAME_SHAPE = (
    *(Op.BatchNorm, Op.LayerNorm, Op.GroupNorm, Op.Softmax, Op.ReLU, Op.ReLU6, Op.Sigmoid, Op.Tanh, Op.Swish),
    *(Op.GeLU, Op.ELU, Op.LeakyReLU, Op.PReLU, Op.Softplus, Op.Exp, Op.Sqrt, Op.Abs, Op.Log, Op.Erf, Op.Output),
)


def problems(graph: Graph) -> list[str]:
    """What is wrong with a graph, one line each; empty for a sound one.

    Every node but ``Input`` reads another and is read, but for ``Output``; as many numbers
    come in as a predecessor gives; operations that keep the shape do; groups divide channels.
    """
    found: list[str] = []
    volume_in = graph.resolution[:, [0, 2, 4]].astype(np.int64).prod(axis=1)
    volume_out = graph.resolution[:, [1, 3, 5]].astype(np.int64).prod(axis=1)
    inputs: list[list[int]] = [[] for _ in range(len(graph))]
    read = np.zeros(len(graph), dtype=bool)
    for source, target in graph.edges.T.tolist():
        inputs[target].append(source)
        read[source] = True
    for node in range(len(graph)):
        op = Op(int(graph.op[node]))
        c_in, c_out = graph.resolution[node, 4:].tolist()

        def say(text: str, node: int = node, op: Op = op) -> None:
            found.append(f"node {node} ({op.name}) {text}")

        if not inputs[node] and op is not Op.Input:
            say("reads nothing")
        if not read[node] and op is not Op.Output and len(graph) > 1:
            say("is read by nothing")
        given = [int(volume_out[i]) for i in inputs[node]]
        if given and volume_in[node] not in given:
            say(f"reads {volume_in[node]} numbers, but its inputs give {given}")
        if op in _SAME_SHAPE and volume_in[node] != volume_out[node]:
            say(f"reads {volume_in[node]} numbers and gives {volume_out[node]}")
        if op in (Op.Conv, Op.Depthwise, Op.ConvTranspose) and (
            c_in % graph.groups[node] or c_out % graph.groups[node]
        ):
            say(f"has {graph.groups[node]} groups for {c_in} and {c_out} channels")
        if op is Op.Concat and volume_out[node] < sum(given):
            say(f"joins {sum(given)} numbers into {volume_out[node]}")
    return found
