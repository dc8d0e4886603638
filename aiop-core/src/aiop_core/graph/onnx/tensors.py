"""What is known of the tensors between nodes: shapes by ONNX's own inference, contents where shapes need them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, defs, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_node_outputs

from aiop_core.errors import GraphError
from aiop_core.graph.onnx.call import Contents
from aiop_core.graph.onnx.file import STANDARD, first_line, title
from aiop_core.graph.recorder import Shape

LARGEST_CONTENTS = 2**16
"""Numbers in a constant whose contents are computed; shapes are made of few."""

LARGEST_SIZE = 2**31 - 1
"""Along one axis; what a graph's columns hold."""

COMPUTED = frozenset(
    """
    Abs Add And Cast CastLike Ceil Clip Compress Concat Constant ConstantOfShape CumSum Div Equal Expand Flatten Floor
    Gather GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not
    OneHot Or Pad Pow Range Reciprocal ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND
    Sign Slice Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu Unique Unsqueeze Where Xor
    """.split()
)
"""Operations whose results are computed where all they read is known."""

_COUNTED_BY_CONTENTS = frozenset(["Compress", "NonZero", "Unique"])
"""Operations on constants whose result is no larger than what they read, and known only when computed."""

_SAME_SHAPE = frozenset(["GroupNormalization", "MeanVarianceNormalization"])
"""Operations that ONNX defines by others and has no inference for."""


def tensor_type(element: int, shape: Shape | None) -> TypeProto:
    """The type of a tensor; ``None`` for an unknown shape."""
    return helper.make_tensor_type_proto(element, shape)


def shape_of(kind: TypeProto | None) -> Shape | None:
    """The sizes of a tensor's axes, ``None`` if one of them is not known."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def read_contents(tensor: TensorProto, folder: str) -> Contents | None:
    """The numbers in a small constant, kept in the file or in another in ``folder``, if they are there."""
    if math.prod(tensor.dims) > LARGEST_CONTENTS or tensor.data_type == TensorProto.STRING:
        return None
    try:
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, folder)
        contents: Contents = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001 # contents that are missing or damaged count only where a shape needs them
        return None
    return contents


class Tensors:
    """Types of all tensors met so far and contents of small constants.

    Args:
        model: whose opsets count, and whose declared shapes help where inference does not.
        folder: where contents that are kept in other files would be.
    """

    def __init__(self, model: ModelProto, folder: str) -> None:
        self._folder = folder
        self._types: dict[str, TypeProto] = {}
        self._contents: dict[str, Contents] = {}
        self._declared = {v.name: v.type for v in (*model.graph.value_info, *model.graph.output)}
        self._versions = {"" if o.domain in STANDARD else o.domain: o.version for o in model.opset_import}
        self._opsets = [OperatorSetIdProto(domain=d, version=v) for d, v in self._versions.items()]

    def shape(self, name: str) -> Shape:
        """The shape of a tensor that was set or inferred."""
        return shape_of(self._types.get(name)) or ()

    def element(self, name: str) -> int:
        """What kind of numbers a tensor has."""
        return self._types[name].tensor_type.elem_type

    def contents(self, name: str) -> Contents | None:
        """The numbers in a small constant."""
        return self._contents.get(name)

    def set(self, name: str, kind: TypeProto, contents: Contents | None = None) -> None:
        """What is known of a tensor."""
        self._types[name] = kind
        if contents is not None:
            self._contents[name] = contents

    def set_constant(self, tensor: TensorProto, name: str) -> None:
        """Take an initializer or a ``Constant``; contents only if small, and if they are there.

        Raises:
            GraphError: if its shape is none.
        """
        shape = tuple(tensor.dims)
        if any(d < 0 or d > LARGEST_SIZE for d in shape):
            raise GraphError(f"constant '{name}' has shape {shape}; every size must be 0 to {LARGEST_SIZE}")
        self.set(name, tensor_type(tensor.data_type, shape))
        if (contents := read_contents(tensor, self._folder)) is not None:
            self._contents[name] = contents

    def copy(self, source: str, target: str) -> None:
        """Know the same of ``target`` as of ``source``."""
        self.set(target, self._types[source], self._contents.get(source))

    def infer(self, node: NodeProto, captured: Iterable[str] = (), *, needed: bool = True) -> list[Shape]:
        """The shapes of what a node gives, none if one stays unknown; ``captured`` is what graphs inside it read.

        Raises:
            GraphError: if the inputs do not fit the operation, or a shape that is ``needed`` stays unknown.
        """
        found = self._inferred(node, [*node.input, *captured])
        if node.op_type in ("Shape", "Size") and node.domain in STANDARD:
            self._measure(node)
        known = {name: self._contents[name] for name in node.input if name in self._contents}
        computable = node.op_type in COMPUTED and node.domain in STANDARD and all(n in known for n in node.input if n)
        for name in filter(None, node.output):
            kind = found.get(name)
            if shape_of(kind) is None and not (computable and node.op_type in _COUNTED_BY_CONTENTS):
                kind = self._declared.get(name, kind)
            if kind is not None:
                self.set(name, kind)
        if computable:
            self._compute(node, known)
        if not needed and any(shape_of(self._types.get(name)) is None for name in node.output if name):
            return []
        return [self._checked(node, name) if name else () for name in node.output]

    def _checked(self, node: NodeProto, name: str) -> Shape:
        kind = self._types.get(name)
        shape = shape_of(kind)
        if shape is None:
            what = kind.WhichOneof("value") if kind is not None else None
            if node.domain not in STANDARD and what in (None, "tensor_type"):
                raise GraphError(
                    f"{title(node)}: the file does not declare the shape of '{name}'; register a rule "
                    f"'onnx:{node.domain}::{node.op_type}' through the hook aiop_register_operations, which gives it"
                )
            reason = "is no tensor" if what not in (None, "tensor_type") else "has a shape that only a run would tell"
            raise GraphError(
                f"{title(node)}: '{name}' {reason}; give a fixed input shape, or cut the model before it with "
                "onnx.utils.extract_model"
            )
        if any(d < 0 or d > LARGEST_SIZE for d in shape):
            raise GraphError(f"{title(node)}: '{name}' has shape {shape}; every size must be 0 to {LARGEST_SIZE}")
        return shape

    def _inferred(self, node: NodeProto, read: Iterable[str]) -> Mapping[str, TypeProto]:
        """By ONNX; nothing for an operation that it does not know."""
        domain = "" if node.domain in STANDARD else node.domain
        schema = _schema(node.op_type, domain, self._versions.get(domain, 1))
        if schema is None:
            return {}
        if node.op_type in _SAME_SHAPE:
            return {node.output[0]: self._types[node.input[0]]}
        if any(a.name not in schema.attributes for a in node.attribute):  # inference refuses what it does not know
            kept = [a for a in node.attribute if a.name in schema.attributes]
            del node.attribute[:]
            node.attribute.extend(kept)
        types = {name: self._types[name] for name in read if name in self._types}
        data = {
            name: numpy_helper.from_array(self._contents[name], name) for name in node.input if name in self._contents
        }
        try:
            return infer_node_outputs(schema, node, types, data, opset_imports=self._opsets)
        except Exception as error:
            shapes = ", ".join(str(shape_of(kind)) for kind in types.values())
            raise GraphError(
                f"{title(node)} does not fit inputs of shape {shapes}: {first_line(error)}; "
                "is the input shape one that the network takes?"
            ) from error

    def _measure(self, node: NodeProto) -> None:
        """The contents of what ``Shape`` and ``Size`` give."""
        shape = self.shape(node.input[0])
        limits = {a.name: a.i for a in node.attribute}
        sizes = shape[limits.get("start", 0) : limits.get("end")] if node.op_type == "Shape" else math.prod(shape)
        contents = np.array(sizes, dtype=np.int64)
        self.set(node.output[0], tensor_type(TensorProto.INT64, contents.shape), contents)

    def _compute(self, node: NodeProto, known: Mapping[str, Contents]) -> None:
        """The contents of what a node of known contents gives, where that is small."""
        outputs = [name for name in node.output if name]
        if node.op_type not in _COUNTED_BY_CONTENTS:
            shapes = [shape_of(self._types.get(name)) for name in outputs]
            if any(shape is None or math.prod(shape) > LARGEST_CONTENTS for shape in shapes):
                return
        schema = _schema(node.op_type, "", self._versions[""])
        version = max(self._versions[""], schema.since_version if schema else 0)
        function = helper.make_function(
            "aiop", "computed", sorted(known), outputs, [node], [helper.make_opsetid("", version)]
        )
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results = ReferenceEvaluator(function).run(None, dict(known), attributes={})
        except Exception as error:
            raise GraphError(f"{title(node)} cannot be computed: {first_line(error)}") from error
        for name, result in zip(outputs, results, strict=True):
            contents = np.asarray(result)
            element = self._types[name].tensor_type.elem_type if name in self._types else TensorProto.INT64
            self.set(name, tensor_type(element, contents.shape), contents)


def _schema(op_type: str, domain: str, version: int) -> defs.OpSchema | None:
    """How an operation is defined in that opset, or in the newest if it came later or lacks inference there."""
    found = None
    for newest in (version, defs.onnx_opset_version()):
        try:
            found = defs.get_schema(op_type, newest, domain)
        except defs.SchemaError:
            continue
        if found.has_type_and_shape_inference_function:
            break
    return found
