"""From a frozen TensorFlow graph to ours, without TensorFlow.

The file is untrusted: shapes are computed and never allocated, only small constants are
looked into, and loops and calls are found before anything walks along them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiop_core.errors import AiopError, GraphError
from aiop_core.graph.model import Graph
from aiop_core.graph.passes import fuse, fuse_affine, prune
from aiop_core.graph.recorder import Recorder, Rule, Shape, Value
from aiop_core.graph.tensorflow.atrous import fold_atrous
from aiop_core.graph.tensorflow.constants import FLOATS, constant_contents, constant_shape, fold
from aiop_core.graph.tensorflow.inputs import channel_axis, find_input, input_shape_of
from aiop_core.graph.tensorflow.library import Node, Port, flatten
from aiop_core.graph.tensorflow.operation import Contents, Operation, Tensor, checked
from aiop_core.graph.tensorflow.order import reached_from, sinks, topological
from aiop_core.graph.tensorflow.protos import read_frozen
from aiop_core.graph.tensorflow.rules import RULES
from aiop_core.graph.tensorflow.shapes import infer
from aiop_core.graph.tensorflow.spelling import fuse_spelling

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")

MAX_TENSORS = 1_000_000
MAX_NUMBERS = 16_777_216
"""In all constants whose contents are kept."""

_SAME_NUMBERS = frozenset(
    """
    BroadcastTo Cast ConcatV2 EnsureShape ExpandDims GatherV2 Gather Identity IdentityN Pack PreventGradient
    ReadVariableOp Reshape Slice Snapshot Split SplitV Squeeze StopGradient StridedSlice Tile Transpose Unpack
    """.split()
)
"""Operations on constants whose result holds the parameters themselves; others make new ones."""


def read_graphdef(
    path: str | Path,
    input_shape: Sequence[int] | None = None,
    rules: Mapping[str, Rule] = {},
    *,
    input_name: str | None = None,
) -> Graph:
    """The computation graph of a frozen GraphDef.

    Args:
        path: a binary ``.pb`` file.
        input_shape: of one input without the batch axis, in the file's order of axes, or
            (channels, height, width) where that does not fit; needed where the file leaves sizes open.
        rules: for operations of one's own, by their name; they win over the built-in ones.
        input_name: which placeholder is the network's input, if there are several.

    Raises:
        GraphError: if the file is no frozen graph, sizes are open or do not fit, or it has
            a loop, several inputs, or no output that depends on its input.
    """
    path = Path(path)
    return graph_of(flatten(read_frozen(path), str(path)), str(path), input_shape, rules, input_name=input_name)


def graph_of(
    nodes: Mapping[str, Node],
    source: str,
    input_shape: Sequence[int] | None,
    rules: Mapping[str, Rule],
    *,
    input_name: str | None = None,
    outputs: Sequence[Port] = (),
) -> Graph:
    """The computation graph of these nodes; ``outputs`` are those that nothing reads by default."""
    start = find_input(nodes, source, input_name)
    flowing = reached_from(start.name, nodes)
    ends = [name for name, _ in outputs] or sinks(nodes, flowing)
    if not ends:
        raise GraphError(f"{source}: nothing in the graph reads its input '{start.name}'")
    order = topological(nodes, ends, source)
    walk = _Walk(nodes, source, {**RULES, **rules})
    for name in order:
        if name not in flowing:
            walk.constant(nodes[name])
    axis_of = channel_axis([nodes[name] for name in order if name in flowing])
    shape = input_shape_of(start, input_shape, source)
    walk.begin(start, shape, axis_of(shape))
    for name in order:
        if name in flowing and name != start.name:
            walk.activation(nodes[name])
    return fuse_affine(fuse(fuse_spelling(fold_atrous(prune(walk.finish(outputs or walk.results(ends)))))))


class _Walk:
    """Results of the nodes so far, constants first; a branch that is never taken has none."""

    def __init__(self, nodes: Mapping[str, Node], source: str, rules: Mapping[str, Rule]) -> None:
        self._nodes = nodes
        self._source = source
        self._rules = rules
        self._weights: dict[str, int] = {}
        self._results: dict[str, list[Tensor | None]] = {}
        self._recorder = Recorder({}, channels_last=True)
        self._tensors = self._numbers = 0

    # --- constants ----------------------------------------------------------------

    def constant(self, node: Node) -> None:
        """What does not depend on the input: contents where small, and which parameters it holds."""
        if node.op == "Const":
            self._guarded(node, self._leaf)
        elif node.op in _VARIABLES:
            self._results[node.name] = [self._parameter(node.name, self._declared(node))]
        elif node.op == "Placeholder":
            self._results[node.name] = [Tensor(Value(self._declared(node)))]
        else:
            self._guarded(node, self._computed)

    def _declared(self, node: Node) -> Shape:
        shape = node.attrs.get("shape") or ()
        return tuple(max(size, 1) for size in shape)

    def _leaf(self, node: Node) -> list[Tensor | None]:
        tensor = node.attrs["value"]
        shape = constant_shape(tensor)
        contents = constant_contents(tensor) if self._numbers <= MAX_NUMBERS else None
        self._numbers += 0 if contents is None else contents.size
        value = Value(shape)
        if tensor.dtype in FLOATS and value.size > 1:
            return [Tensor(self._parameter(node.name, shape).value, contents)]
        return [Tensor(value, contents)]

    def _parameter(self, name: str, shape: Shape) -> Tensor:
        value = Value(shape, params=frozenset([name]))
        self._weights[name] = value.size
        return Tensor(value)

    def _computed(self, node: Node) -> list[Tensor | None]:
        op = self._operation(node)
        if op is None:
            return []
        if node.op in ("Switch", "RefSwitch", "Merge"):
            return self._branch(op)
        op.shapes = infer(op)
        contents = self._folded(op)
        made = self._recorder.constant(op.values, ()).params
        results: list[Tensor | None] = []
        for index, shape in enumerate(op.shapes):
            value = Value(shape, params=made)
            if made and node.op not in _SAME_NUMBERS and value.size > 1:
                value = self._parameter(f"{node.name}:{index}", shape).value
            results.append(Tensor(value, contents[index] if contents else None))
        return results

    # --- activations --------------------------------------------------------------

    def begin(self, start: Node, shape: Shape, axis: int) -> None:
        """The network's input; all parameters are known by now."""
        self._recorder = Recorder(self._weights, channels_last=axis == len(shape) - 1)
        self._guarded(start, lambda node: [Tensor(self._recorder.input(self._check(node, shape), axis))])

    def activation(self, node: Node) -> None:
        """What depends on the input, or on its shape."""
        self._guarded(node, self._recorded)

    def _recorded(self, node: Node) -> list[Tensor | None]:
        if node.op in ("Switch", "RefSwitch", "Merge"):
            op = self._operation(node)
            return [] if op is None else self._branch(op)
        if node.op == "IdentityN":
            return [self._result(node, port) for port in node.inputs]
        op = self._operation(node)
        if op is None:
            return []
        if not any(value.flows for value in op.values) and node.op not in self._rules:
            return self._computed(node)
        op.shapes = infer(op)
        contents = self._folded(op)
        if not any(value.flows for value in op.values):
            values: Sequence[Value] = [self._recorder.constant(op.values, shape) for shape in op.shapes]
        else:
            rule = self._rules.get(node.op)
            made = rule(self._recorder, op) if rule else self._unknown(op)
            values = [made] if isinstance(made, Value) else list(made)
        for value in values:
            self._check(node, value.shape)
        return [Tensor(value, contents[i] if contents and not value.flows else None) for i, value in enumerate(values)]

    def _unknown(self, op: Operation) -> list[Value]:
        return self._recorder.unknown("tensorflow", f"{op.name} ('{op.label}')", op.values, op.shapes)

    def results(self, names: Sequence[str]) -> list[Port]:
        """Every result of these nodes."""
        return [(name, port) for name in names for port in range(len(self._results[name]))]

    def finish(self, ends: Sequence[Port]) -> Graph:
        """The graph with an ``Output`` for each of ``ends`` that depends on the input."""
        found = [self._result(self._nodes[name], (name, port)) for name, port in ends]
        values = [tensor.value for tensor in found if tensor is not None and tensor.value.flows]
        if not values:
            names = ", ".join(name for name, _ in ends[:5])
            raise GraphError(f"{self._source}: the results {names} do not depend on the network's input")
        for value in values:
            self._recorder.output(value)
        return self._recorder.builder.build()

    # --- both ---------------------------------------------------------------------

    def _folded(self, op: Operation) -> list[Contents] | None:
        """Contents of the results, after their shapes are checked; a file cannot ask for more than so many in all."""
        self._tensors += len(checked(op))
        if self._tensors > MAX_TENSORS:
            raise GraphError(f"the graph has more than {MAX_TENSORS:,} tensors; give a graph of one network")
        contents = fold(op) if self._numbers <= MAX_NUMBERS else None
        self._numbers += sum(array.size for array in contents or ())
        return contents

    def _operation(self, node: Node) -> Operation | None:
        """The operation with what it reads; ``None`` if that lies on a branch that is never taken."""
        inputs = [self._result(node, port) for port in node.inputs]
        taken = [tensor for tensor in inputs if tensor is not None]
        if (not taken and inputs) or (len(taken) < len(inputs) and node.op != "Merge"):
            return None
        return Operation(node.op, node.name, taken, node.attrs)

    def _result(self, node: Node, port: Port) -> Tensor | None:
        name, index = port
        results = self._results.get(name, [])
        if results and index >= len(results):
            raise GraphError(
                f"{self._source}: node '{node.name}' reads result {index} of '{name}' "
                f"({self._nodes[name].op}), which gives {len(results)}"
            )
        return results[index] if results else None

    def _branch(self, op: Operation) -> list[Tensor | None]:
        """``Switch`` hands on by a constant condition; ``Merge`` takes what arrives."""
        if op.name == "Merge":
            return [op.inputs[0], Tensor(Value(()))]
        taken = bool(op.contents(1).item())
        return [None if taken else op.inputs[0], op.inputs[0] if taken else None]

    def _check(self, node: Node, shape: Shape) -> Shape:
        return checked(Operation(node.op, node.name, [], {}, [shape]))[0]

    def _guarded(self, node: Node, step: Any) -> None:
        """Damaged attributes may break a step in any way; the message names the node."""
        try:
            self._results[node.name] = step(node)
        except AiopError as error:
            text = str(error)
            raise GraphError(text if text.startswith(self._source) else f"{self._source}: {text}") from error
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise GraphError(
                f"{self._source}: node '{node.name}' ({node.op}) cannot be read: {reason}; the file is damaged, "
                "or --input-shape does not fit it"
            ) from error
