"""The shape of every result of every operation of the vocabulary, from the shapes of what it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Shape
from aiop_core.graph.tensorflow.einsum import Equation
from aiop_core.graph.tensorflow.operation import MAX_RESULTS, Operation
from aiop_core.graph.tensorflow.slicing import sliced

ShapeFunction = Callable[[Operation], Shape | list[Shape]]


def broadcast(op: Operation, shapes: Sequence[Shape]) -> Shape:
    """The shape of tensors that meet element by element.

    Raises:
        GraphError: if they do not fit.
    """
    sizes = []
    for column in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        longest = {size for size in column if size != 1} or {1}
        if len(longest) > 1:
            shown = " and ".join("x".join(map(str, s)) or "a number" for s in shapes)
            raise GraphError(f"node '{op.label}' ({op.name}) cannot combine {shown}; check --input-shape")
        sizes.append(longest.pop())
    return tuple(reversed(sizes))


def _with_spatial(op: Operation, shape: Shape, sizes: Sequence[int], channels: int) -> Shape:
    return (shape[0], channels, *sizes) if op.channels_first else (shape[0], *sizes, channels)


def _windows(op: Operation, kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """How many windows fit along each spatial axis."""
    x = op.shape()
    dilations = op.spatial(op.attr("dilations") or [1] * len(x))
    explicit = op.attr("explicit_paddings") or [0] * 2 * len(x)
    before, after = op.spatial(explicit[::2]), op.spatial(explicit[1::2])
    padding = op.attr("padding", "VALID")
    sizes = []
    for size, k, s, d, lo, hi in zip(op.spatial(x), kernel, strides, dilations, before, after, strict=True):
        if padding == "SAME":
            sizes.append(-(-size // s))
        else:
            margin = lo + hi if padding == "EXPLICIT" else 0
            sizes.append((size + margin - (k - 1) * d - 1) // s + 1)
    return sizes


def _convolution(op: Operation) -> Shape:
    x, (*kernel, inner, outer) = op.shape(), op.shape(1)
    channels = x[op.channel_axis]
    if op.name.startswith("Depthwise"):
        outer *= inner
        fits = channels == inner
    else:
        fits = inner > 0 and channels % inner == 0
    if len(kernel) != len(x) - 2 or not fits:
        raise GraphError(
            f"node '{op.label}' ({op.name}) with a kernel of shape {list(op.shape(1))} cannot read {channels} channels "
            f"of a tensor of shape {list(x)}; check --input-shape"
        )
    return _with_spatial(op, x, _windows(op, kernel, op.spatial(op.attr("strides", [1] * len(x)))), outer)


def _transposed_convolution(op: Operation) -> Shape:
    sizes, x = op.ints(0), op.shape(2)
    if len(sizes) == len(x):
        return (x[0], *sizes[1:])
    return _with_spatial(op, x, sizes, op.shape(1)[-2])


def _pool(op: Operation) -> Shape | list[Shape]:
    kernel, strides = pool_window(op)
    shape = _with_spatial(op, op.shape(), _windows(op, kernel, strides), op.shape()[op.channel_axis])
    return [shape, shape] if op.name == "MaxPoolWithArgmax" else shape


def pool_window(op: Operation) -> tuple[list[int], list[int]]:
    """Window and stride of a pooling; ``MaxPoolV2`` reads them."""
    if op.name.endswith("V2"):
        return op.spatial(op.ints(1)), op.spatial(op.ints(2))
    return op.spatial(op.attr("ksize")), op.spatial(op.attr("strides"))


def reduced(op: Operation) -> list[int]:
    """The axes that a reduction reads."""
    return [axis % max(len(op.shape()), 1) for axis in op.ints(1)]


def _reduction(op: Operation) -> Shape:
    axes, kept = reduced(op), op.attr("keep_dims", op.attr("keepdims", False))
    return tuple(1 if d in axes else n for d, n in enumerate(op.shape()) if kept or d not in axes)


def _arg_max(op: Operation) -> Shape:
    axis = op.ints(1)[0] % len(op.shape())
    return tuple(n for d, n in enumerate(op.shape()) if d != axis)


def transposed(op: Operation) -> tuple[bool, bool]:
    """Which of its two matrices a product reads with rows and columns exchanged."""
    left, right = ("transpose_a", "transpose_b") if op.name == "MatMul" else ("adj_x", "adj_y")
    return bool(op.attr(left, False)), bool(op.attr(right, False))


def _product(op: Operation) -> Shape:
    (*batch, rows, inner), (*other, inner2, columns) = op.shape(), op.shape(1)
    turned = transposed(op)
    rows, inner = (inner, rows) if turned[0] else (rows, inner)
    inner2, columns = (columns, inner2) if turned[1] else (inner2, columns)
    if inner != inner2:
        raise GraphError(
            f"node '{op.label}' ({op.name}) cannot multiply {list(op.shape())} with {list(op.shape(1))}; "
            "check --input-shape"
        )
    return (*broadcast(op, [tuple(batch), tuple(other)]), rows, columns)


def _concat(op: Operation) -> Shape:
    shapes = [v.shape for v in op.values]
    axis, shapes = (op.ints(len(shapes) - 1)[0], shapes[:-1]) if op.name == "ConcatV2" else (op.ints(0)[0], shapes[1:])
    axis %= len(shapes[0])
    rest = {s[:axis] + s[axis + 1 :] for s in shapes}
    if len(rest) > 1:
        raise GraphError(f"node '{op.label}' ({op.name}) cannot join {[list(s) for s in shapes]}; check --input-shape")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _pack(op: Operation) -> Shape:
    shape = list(op.shape())
    axis = op.attr("axis", 0) % (len(shape) + 1)
    return (*shape[:axis], len(op.inputs), *shape[axis:])


def _bounded(op: Operation, count: int) -> int:
    if not 0 < count <= MAX_RESULTS:
        raise GraphError(f"node '{op.label}' ({op.name}) gives {count:,} tensors; allowed are 1 to {MAX_RESULTS:,}")
    return count


def _unpack(op: Operation) -> list[Shape]:
    shape = op.shape()
    axis = op.attr("axis", 0) % len(shape)
    return [shape[:axis] + shape[axis + 1 :]] * _bounded(op, shape[axis])


def _split(op: Operation) -> list[Shape]:
    shape = list(op.shape(1))
    axis, parts = op.ints(0)[0] % len(shape), _bounded(op, op.attr("num_split", 1))
    return [(*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])] * parts


def _split_sizes(op: Operation) -> list[Shape]:
    shape, lengths = list(op.shape()), op.ints(1)
    axis = op.ints(2)[0] % len(shape)
    lengths = [shape[axis] - sum(lengths) - 1 if n == -1 else n for n in lengths]
    return [(*shape[:axis], n, *shape[axis + 1 :]) for n in lengths]


def _slice(op: Operation) -> Shape:
    return tuple(
        whole - begin if size == -1 else size
        for whole, begin, size in zip(op.shape(), op.ints(1), op.ints(2), strict=True)
    )


def _gather(op: Operation) -> Shape:
    shape = op.shape()
    axis = op.ints(2)[0] % len(shape) if len(op.inputs) > 2 else 0
    batch = op.attr("batch_dims", 0)
    return (*shape[:axis], *op.shape(1)[batch:], *shape[axis + 1 :])


def _reshape(op: Operation) -> Shape:
    shape, size = op.ints(1), math.prod(op.shape())
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known:
        shape[shape.index(-1)] = size // known
    if math.prod(shape) != size or -1 in shape:
        raise GraphError(
            f"node '{op.label}' ({op.name}) cannot make {op.ints(1)} of a tensor of shape {list(op.shape())}; "
            "check --input-shape"
        )
    return tuple(shape)


def _squeeze(op: Operation) -> Shape:
    shape = op.shape()
    axes = [d % len(shape) for d in op.attr("squeeze_dims", [])] or [d for d, n in enumerate(shape) if n == 1]
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def _expand(op: Operation) -> Shape:
    shape, axis = op.shape(), op.ints(1)[0]
    axis %= len(shape) + 1
    return (*shape[:axis], 1, *shape[axis:])


def _padded(op: Operation) -> Shape:
    pads = op.contents(1).reshape(-1, 2).tolist()
    return tuple(n + int(lo) + int(hi) for n, (lo, hi) in zip(op.shape(), pads, strict=True))


def _resize(op: Operation) -> Shape:
    return (op.shape()[0], *op.ints(1), op.shape()[-1])


def _space_to_batch(op: Operation) -> Shape:
    """The batch that it makes out of space stays 1, as the graph shows one example."""
    shape, block, pads = op.shape(), op.ints(1), op.contents(2).reshape(-1, 2).tolist()
    sizes = [(n + lo + hi) // b for n, b, (lo, hi) in zip(shape[1:], block, pads, strict=False)]
    return (shape[0], *sizes, *shape[1 + len(sizes) :])


def _batch_to_space(op: Operation) -> Shape:
    shape, block, crops = op.shape(), op.ints(1), op.contents(2).reshape(-1, 2).tolist()
    sizes = [n * b - lo - hi for n, b, (lo, hi) in zip(shape[1:], block, crops, strict=False)]
    return (shape[0], *sizes, *shape[1 + len(sizes) :])


def _space_to_depth(op: Operation) -> Shape:
    block = op.attr("block_size")
    channels = op.shape()[op.channel_axis] * block**2
    return _with_spatial(op, op.shape(), [n // block for n in op.spatial(op.shape())], channels)


def _depth_to_space(op: Operation) -> Shape:
    block = op.attr("block_size")
    channels = op.shape()[op.channel_axis] // block**2
    return _with_spatial(op, op.shape(), [n * block for n in op.spatial(op.shape())], channels)


def _norm(op: Operation) -> list[Shape]:
    """The normalised tensor, and mean and variance of its channels twice."""
    channels = (op.shape()[op.channel_axis],)
    return [op.shape(), *[channels] * 4, ()][: 6 if op.name.endswith("V3") else 5]


def _top(op: Operation) -> list[Shape]:
    shape = (*op.shape()[:-1], op.ints(1)[0])
    return [shape, shape]


def _range(op: Operation) -> Shape:
    start, stop, step = (op.contents(i).item() for i in range(3))
    return (max(math.ceil((stop - start) / step), 0),)


def _one_hot(op: Operation) -> Shape:
    shape, axis = op.shape(), op.attr("axis", -1)
    axis %= len(shape) + 1
    return (*shape[:axis], op.ints(1)[0], *shape[axis:])


def _suppression(op: Operation) -> list[Shape]:
    """As many boxes as are allowed."""
    boxes = (op.ints(2)[0],)
    return [boxes, boxes, ()] if op.name.endswith("V5") else [boxes, ()]


def _same(op: Operation) -> Shape:
    return op.shape()


def _each(op: Operation) -> list[Shape]:
    return [v.shape for v in op.values]


def _elementwise(op: Operation) -> Shape:
    return broadcast(op, [v.shape for v in op.values])


SAME = """
    Abs Acos Asin Atan BiasAdd BiasAddV1 Cast Ceil CheckNumerics Cos Cosh Cumprod Cumsum Elu EnsureShape Erf Erfc Exp
    Expm1 FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Floor Identity Inv
    InvertPermutation IsFinite IsInf IsNan LRN LeakyRelu Log Log1p LogSoftmax LogicalNot MirrorPadGrad Neg OnesLike
    PlaceholderWithDefault PreventGradient Print QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 Reciprocal Relu Relu6
    ReverseV2 Rint Roll Round Rsqrt Selu Sigmoid Sign Sin Sinh Snapshot Softmax Softplus Softsign Sqrt Square
    StopGradient Tan Tanh ZerosLike
""".split()
"""Operations whose result has the shape of their first input."""

ELEMENTWISE = """
    Add AddN AddV2 AccumulateNV2 Atan2 ClipByValue Div DivNoNan Equal FloorDiv FloorMod Greater GreaterEqual Less
    LessEqual LogicalAnd LogicalOr Maximum Minimum Mod Mul MulNoNan NotEqual Pow RealDiv Select SelectV2
    SquaredDifference Sub TruncateDiv Xdivy
""".split()

SHAPES: dict[str, ShapeFunction] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(["Conv2D", "Conv3D", "DepthwiseConv2dNative"], _convolution),
    **dict.fromkeys(["Conv2DBackpropInput", "Conv3DBackpropInputV2"], _transposed_convolution),
    **dict.fromkeys(["MaxPool", "MaxPoolV2", "AvgPool", "MaxPool3D", "AvgPool3D", "MaxPoolWithArgmax"], _pool),
    **dict.fromkeys(["Mean", "Sum", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm"], _reduction),
    **dict.fromkeys(["ArgMax", "ArgMin"], _arg_max),
    **dict.fromkeys(["MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"], _product),
    "Einsum": lambda op: Equation.of(op).shape,
    **dict.fromkeys(["ConcatV2", "Concat"], _concat),
    "Pack": _pack,
    "Unpack": _unpack,
    "Split": _split,
    "SplitV": _split_sizes,
    "Slice": _slice,
    "StridedSlice": lambda op: sliced(op).shape,
    **dict.fromkeys(["GatherV2", "Gather", "ResourceGather"], _gather),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Transpose": lambda op: tuple(op.shape()[d] for d in op.ints(1)),
    **dict.fromkeys(["Pad", "PadV2", "MirrorPad"], _padded),
    **dict.fromkeys(["ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"], _resize),
    "ScaleAndTranslate": _resize,
    "SpaceToBatchND": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    "SpaceToDepth": _space_to_depth,
    "DepthToSpace": _depth_to_space,
    **dict.fromkeys(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"], _norm),
    "TopKV2": _top,
    "OneHot": _one_hot,
    "Tile": lambda op: tuple(n * k for n, k in zip(op.shape(), op.ints(1), strict=True)),
    **dict.fromkeys(["BroadcastTo", "Fill"], lambda op: tuple(op.ints(1 if op.name == "BroadcastTo" else 0))),
    "BroadcastArgs": lambda op: (max(math.prod(op.shape()), math.prod(op.shape(1))),),
    "Range": _range,
    "Shape": lambda op: (len(op.shape()),),
    "ShapeN": lambda op: [(len(v.shape),) for v in op.values],
    **dict.fromkeys(["Size", "Rank"], lambda _op: ()),
    "IdentityN": _each,
    "ReadVariableOp": _same,
    "CropAndResize": lambda op: (op.shape(1)[0], *op.ints(3), op.shape()[-1]),
    **dict.fromkeys(["NonMaxSuppressionV4", "NonMaxSuppressionV5"], _suppression),
    "NonMaxSuppressionV3": lambda op: (op.ints(2)[0],),
}


def infer(op: Operation) -> list[Shape]:
    """The shapes that an operation gives.

    An operation that no function knows is taken to keep the shape that the file notes
    (``_output_shapes``), or that of the first tensor that it reads.
    """
    function = SHAPES.get(op.name)
    if function is None:
        noted = op.attr("_output_shapes", [])
        if noted and all(shape is not None for shape in noted):
            return [tuple(1 if size < 0 else size for size in shape) for shape in noted]
        flowing = [v.shape for v in op.values if v.flows]
        return [(flowing or [v.shape for v in op.values] or [()])[0]]
    found = function(op)
    return found if isinstance(found, list) else [found]
