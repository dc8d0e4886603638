"""From an ONNX file to its graph: one walk over the nodes, in which shapes are inferred as it goes.

No weights are needed and nothing is run: contents are known only of small constants,
because shapes are made of them. :mod:`aiop_core.graph.onnx.rules` says what each
operation becomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from aiop_core.errors import GraphError
from aiop_core.graph.model import Graph
from aiop_core.graph.onnx.call import Call
from aiop_core.graph.onnx.file import STANDARD, bodies, captured, first_line, in_order, load_model, opset, title
from aiop_core.graph.onnx.fused import plain
from aiop_core.graph.onnx.parameters import parameters
from aiop_core.graph.onnx.rules import RULES
from aiop_core.graph.onnx.sequences import Sequences
from aiop_core.graph.onnx.tensors import LARGEST_SIZE, Tensors, tensor_type
from aiop_core.graph.onnx.views import SHAPES_READ
from aiop_core.graph.passes import fuse, prune
from aiop_core.graph.recorder import Recorder, Rule, Shape, Value

_UNDECLARED = "the file does not declare its shape, so the rule that is registered for it must give that"


def read_onnx(
    path: str | Path,
    input_shape: tuple[int, ...] | None = None,
    rules: Mapping[str, Rule] | None = None,
    *,
    input_name: str | None = None,
) -> Graph:
    """The computation graph of an ONNX file.

    Args:
        path: the ``.onnx`` file; weights that it keeps in other files need not be there.
        input_shape: of the input without the batch axis, in the file's order of axes; the
            file's own if it is fixed. The batch is one, whatever the file says.
        rules: what operations become, by name (``Op`` or ``domain::Op``); they win over
            the rules of :mod:`aiop_core.graph.onnx.rules`.
        input_name: which input is the network's, where there are several.

    Raises:
        GraphError: if the file is no ONNX model that can be read, or the shape does not
            fit it.
    """
    path = Path(path)
    try:
        model = load_model(path)
        return fuse(prune(_Walk(model, path, rules or {}).graph(input_shape, input_name)))
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file breaks what reads it in any place
        raise GraphError(f"{path} is damaged: {first_line(error)}; check it with onnx.checker") from error


class _Walk:
    """Goes through a model's nodes and records what they become."""

    def __init__(self, model: ModelProto, path: Path, rules: Mapping[str, Rule]) -> None:
        self._model, self._rules = model, rules
        self._tensors = Tensors(model, str(path.parent))
        self._sequences = Sequences(opset(model), self._tensors.shape, self._tensors.contents)
        self._values: dict[str, Value] = {}
        self._batch = 1
        self._parameters = parameters(model, str(path.parent))
        self._recorder = Recorder(self._parameters)

    def graph(self, input_shape: tuple[int, ...] | None, input_name: str | None) -> Graph:
        """The whole graph."""
        graph = self._model.graph
        self._take_initializers(graph)
        self._take_inputs(graph, input_shape, input_name)
        self._walk(graph.node)
        for output in graph.output:
            if output.name not in self._values:
                raise GraphError(f"the output '{output.name}' is given by no node; check how the file was made")
        outputs = [value for output in graph.output if (value := self._values[output.name]).flows]
        if not outputs:
            raise GraphError("no output depends on the input; choose another (--input-name)")
        for value in outputs:
            self._recorder.output(value)
        return self._recorder.builder.build()

    # --- constants and inputs -----------------------------------------------------

    def _take_initializers(self, graph: GraphProto) -> None:
        for tensor in graph.initializer:
            self._take_constant(tensor, tensor.name)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            self._tensors.set(name, tensor_type(sparse.values.data_type, tuple(sparse.dims)))
            self._values[name] = Value(tuple(sparse.dims), params=frozenset([name]))

    def _take_constant(self, tensor: TensorProto, name: str) -> None:
        self._tensors.set_constant(tensor, name)
        self._values[name] = Value(
            tuple(tensor.dims), params=frozenset([name]) if name in self._parameters else frozenset()
        )

    def _take_inputs(self, graph: GraphProto, input_shape: tuple[int, ...] | None, input_name: str | None) -> None:
        inputs = {i.name: i for i in graph.input if i.name not in self._values}
        names = ", ".join(inputs)
        if not inputs:
            raise GraphError("the model has no inputs; a network needs one")
        if input_name is None and len(inputs) > 1:
            raise GraphError(f"the model has {len(inputs)} inputs ({names}); name the network's (--input-name)")
        if input_name is not None and input_name not in inputs:
            raise GraphError(f"the model has no input '{input_name}'; its inputs are: {names}")
        chosen = inputs[input_name or names]
        for info in inputs.values():
            shape = self._input_shape(info, input_shape if info is chosen else None)
            self._tensors.set(info.name, tensor_type(info.type.tensor_type.elem_type, shape))
            if info is chosen:
                self._values[info.name] = self._recorder.input(shape, _channel_axis(shape))
            else:
                self._values[info.name] = Value(shape)

    def _input_shape(self, info: ValueInfoProto, given: tuple[int, ...] | None) -> Shape:
        """The shape of an input with a batch of one."""
        if info.type.WhichOneof("value") != "tensor_type":
            raise GraphError(f"the input '{info.name}' is no tensor; a network that is read takes one")
        declared = info.type.tensor_type.shape.dim if info.type.tensor_type.HasField("shape") else None
        if given is not None:
            if declared is not None and len(declared) != len(given) + 1:
                raise GraphError(
                    f"the input '{info.name}' has {len(declared)} axes, but the shape {given} is for "
                    f"{len(given) + 1}; give every axis but the batch"
                )
            shape: Shape = (1, *given)
        elif declared is None or any(d.dim_value < 1 for d in declared[1:]):
            axes = ", ".join(d.dim_param or str(d.dim_value or "?") for d in declared or ()) or "unknown"
            raise GraphError(
                f"the input '{info.name}' has the shape ({axes}); say how large it is without the batch axis, "
                "e.g. --input-shape 3,224,224"
            )
        else:
            shape = tuple(d.dim_value for d in declared)
        if any(not 1 <= size <= LARGEST_SIZE for size in shape[1:]):
            raise GraphError(f"the input '{info.name}' would have the shape {shape}; sizes are 1 to {LARGEST_SIZE}")
        if declared:
            self._batch = max(declared[0].dim_value, self._batch)
        return (1, *shape[1:]) if shape else shape

    # --- nodes ----------------------------------------------------------------------

    def _walk(self, nodes: Sequence[NodeProto]) -> None:
        for fused in in_order(nodes, self._values):
            for node in plain(fused, self._tensors.shape):
                inner = self._sequences.plain(node)
                for one in [node] if inner is None else inner:
                    self._take_node(one)

    def _take_node(self, node: NodeProto) -> None:
        if node.domain in STANDARD:
            node.domain = ""
            if node.op_type == "Constant":
                self._take_constant_node(node)
                return
            if node.op_type == "If" and self._tensors.contents(node.input[0]) is not None:
                self._take_branch(node)
                return
        self._without_batch(node)
        inside = captured(node) if bodies(node) else ()
        flows = any(v.flows for name in (*node.input, *inside) if (v := self._values.get(name)) is not None)
        shapes = self._tensors.infer(node, inside, needed=not flows or self._rule_of_others(_name(node)) is None)
        for name, value in zip(node.output, self._results(node, shapes), strict=False):
            if name:
                self._values[name] = value
                if not shapes:
                    self._tensors.set(name, tensor_type(TensorProto.FLOAT, value.shape))

    def _results(self, node: NodeProto, shapes: list[Shape]) -> list[Value]:
        """What a node gives; what its rule leaves out is constant. Without ``shapes``, its rule knows them."""
        name = _name(node)
        inputs = [self._values[i] if i else None for i in node.input]
        call = Call(name, node, inputs, [self._tensors.contents(i) if i else None for i in node.input], shapes)
        values = call.values + [self._values[n] for n in captured(node)]
        if not any(v.flows for v in values):
            if node.output[0] in self._parameters:
                return [Value(shapes[0], params=frozenset([node.output[0]]))]
            if name in SHAPES_READ:
                return [Value(shape) for shape in shapes]
            made_of = call.values[:1] if name == "CastLike" else call.values  # of the second only the type counts
            return [self._recorder.constant(made_of, shape) for shape in shapes]
        rule = self._rule_of_others(name) or RULES.get(name)
        if rule is None:
            return self._recorder.unknown("onnx", name, values, shapes, place=title(node))
        try:
            made = rule(self._recorder, call)
        except GraphError as error:
            raise GraphError(f"{title(node)}: {error}") from error
        except Exception as error:
            if not shapes:
                raise GraphError(f"{title(node)}: {_UNDECLARED}, but fails: {first_line(error)}") from error
            raise GraphError(
                f"{title(node)} has attributes or inputs that {node.op_type} does not allow: {first_line(error)}; "
                "check the file with onnx.checker"
            ) from error
        known = [made] if isinstance(made, Value) else list(made)
        if not shapes and len(known) < len(node.output):
            raise GraphError(f"{title(node)}: {_UNDECLARED} of all {len(node.output)} results, but gives {len(known)}")
        return known + [Value(shape) for shape in shapes[len(known) :]]

    def _rule_of_others(self, name: str) -> Rule | None:
        return self._rules.get(name) or self._rules.get(f"onnx::{name}")

    def _take_constant_node(self, node: NodeProto) -> None:
        """``Constant``: a tensor, or the numbers in another attribute."""
        name = node.output[0]
        tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if tensor is not None:
            self._take_constant(tensor, name)
            return
        shape = self._tensors.infer(node)[0]
        self._values[name] = Value(shape)

    def _take_branch(self, node: NodeProto) -> None:
        """``If`` of a known condition: the nodes of one branch."""
        condition = self._tensors.contents(node.input[0])
        assert condition is not None
        chosen = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        branch = next((a.g for a in node.attribute if a.name == chosen), GraphProto())
        if len(branch.output) != len(node.output):
            raise GraphError(f"{title(node)} gives {len(node.output)} tensors, its {chosen} {len(branch.output)}")
        self._take_initializers(branch)
        self._walk(branch.node)
        for output, name in zip(branch.output, node.output, strict=True):
            self._values[name] = self._values[output.name]
            self._tensors.copy(output.name, name)

    def _without_batch(self, node: NodeProto) -> None:
        """Sizes that hold the file's fixed batch get a batch of one."""
        if self._batch == 1 or node.op_type not in ("Reshape", "Expand") or len(node.input) < 2:
            return
        sizes = self._tensors.contents(node.input[1])
        if sizes is None or not sizes.size or (not self._values[node.input[0]].flows and node.op_type == "Reshape"):
            return
        first, whole = int(sizes.reshape(-1)[0]), math.prod(sizes.reshape(-1).tolist())
        fits = whole == self._values[node.input[0]].size
        if first == self._batch or (first % self._batch == 0 and whole > 0 and not fits and node.op_type == "Reshape"):
            changed = sizes.copy()
            changed.reshape(-1)[0] = first // self._batch
            name = f"{node.input[1]} of {title(node)}"
            self._tensors.set(name, tensor_type(TensorProto.INT64, changed.shape), changed)
            self._values[name] = Value(changed.shape)
            node.input[1] = name


def _name(node: NodeProto) -> str:
    """How rules call an operation."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _channel_axis(shape: Shape) -> int:
    """Channels come first after the batch, unless only the last axis is as short as colours are."""
    if len(shape) < 3:
        return max(len(shape) - 1, 0)
    if len(shape) == 3:
        return 2
    return len(shape) - 1 if shape[-1] <= 4 < shape[1] else 1
