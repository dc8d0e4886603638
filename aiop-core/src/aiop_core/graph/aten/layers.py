"""Layers: convolutions, matrix products, attention, normalisation, pooling, resizing."""

from __future__ import annotations

from functools import partial

from aiop_core.graph.aten.arithmetic import node
from aiop_core.graph.aten.call import BATCH_NORMS, Call
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value, window


def _convolution(recorder: Recorder, call: Call) -> Value:
    x, weight, bias = call.args[0], call.args[1], call.arg(2, "bias")
    return recorder.convolution(
        [x, weight, bias],
        call.shapes[0],
        kernel=weight.shape[2:],
        stride=call.arg(3, "stride", 1),
        groups=call.arg(8, "groups", 1),
        transposed=call.arg(6, "transposed", False),
    )


def _deformable(recorder: Recorder, call: Call) -> Value:
    """``deform_conv2d(x, weight, offset, mask, bias, stride_h, stride_w, …, groups, offset_groups, use_mask)``."""
    weight, stride = call.args[1], (call.args[5], call.args[6])
    return recorder.emit(
        Op.DeformConv,
        call.args[:5],
        call.shapes[0],
        axis=1,
        kernel=window(weight.shape[2:]),
        stride=window(stride),
        groups=call.args[11],
        bias=bool(call.args[4].params),
    )


def _linear(recorder: Recorder, call: Call) -> Value:
    """``mm(x, weight)`` or ``linear(x, weight, bias)``."""
    return recorder.product(call.args[0], call.args[1], call.shapes[0], bias=call.arg(2, "bias"))


def _add_product(recorder: Recorder, call: Call) -> Value:
    """``addmm(c, a, b)``: a bias if ``c`` is a constant, else an addition."""
    c, a, b = call.args[:3]
    shape = call.shapes[0]
    if c.flows or len(c.shape) > 1:
        return recorder.arithmetic(Op.Add, [recorder.product(a, b, shape), c], shape)
    return recorder.product(a, b, shape, bias=c)


def _attention(recorder: Recorder, call: Call) -> Value:
    """Scaled dot-product attention as its two products and the softmax between them."""
    query, key, value = call.args[:3]
    scores = (*query.shape[:-1], key.shape[-2])
    turned = recorder.permute(key, [*range(len(key.shape) - 2), -1, -2])
    weights = recorder.emit(Op.Softmax, [recorder.product(query, turned, scores)], scores)
    return recorder.product(weights, value, call.shapes[0])


def _pool(op: Op, recorder: Recorder, call: Call) -> list[Value]:
    """A second result says where in its window each number was."""
    kernel = call.args[1]
    pooled = recorder.pool(op, call.args[0], call.shapes[0], kernel, call.arg(2, "stride") or kernel)
    return [pooled] * len(call.shapes)


def _adaptive_pool(op: Op, recorder: Recorder, call: Call) -> Value:
    return recorder.adaptive_pool(op, call.args[0], call.shapes[0])


def _hard_swish(recorder: Recorder, call: Call) -> Value:
    return recorder.hard_swish(call.args[0])


def _mish(recorder: Recorder, call: Call) -> Value:
    return recorder.mish(call.args[0])


def _regions(op: Op, recorder: Recorder, call: Call) -> Value:
    """Pooling at boxes: the window is the grid of each box."""
    shape = call.shapes[0]
    return recorder.emit(op, call.values[:1], shape, axis=1, kernel=window(shape[2:]))


def _batch_norm(recorder: Recorder, call: Call) -> Value:
    """By running statistics; with those of the input itself it is a norm of one image's channels."""
    own = any(argument is True for argument in call.args)
    return recorder.emit(Op.GroupNorm if own else Op.BatchNorm, call.values, call.shapes[0])


_NODES: dict[Op, str] = {
    Op.LayerNorm: "native_layer_norm layer_norm rms_norm _fused_rms_norm",
    Op.GroupNorm: "native_group_norm group_norm",
    Op.Paddings: """
        constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
        replication_pad3d
    """,
    Op.SpacetoDepthND: "pixel_unshuffle",
    Op.DepthtoSpaceND: "pixel_shuffle",
    Op.Resize: """
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d
        _upsample_bicubic2d_aa upsample_trilinear3d
    """,
    Op.Where: "max_unpool2d max_unpool3d",
    Op.GridSample: "grid_sampler_2d grid_sampler_3d",
    Op.Sum: "col2im",
    Op.NMS: "torchvision::nms",
}

_ATTENTION = """
    _scaled_dot_product_attention_math _scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention
""".split()

RULES: dict[str, Rule] = {
    **{name: partial(node, op) for op, names in _NODES.items() for name in names.split()},
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys(["convolution", "_convolution"], _convolution),
    **dict.fromkeys(["mm", "bmm", "mv", "dot", "matmul", "linear"], _linear),
    **dict.fromkeys(["addmm", "baddbmm", "addbmm", "addmv"], _add_product),
    **dict.fromkeys(_ATTENTION, _attention),
    **{
        name: partial(_pool, Op.Maxpool)
        for name in "max_pool2d_with_indices max_pool2d max_pool3d_with_indices".split()
    },
    **{name: partial(_pool, Op.Avgpool) for name in "avg_pool2d avg_pool3d".split()},
    **{name: partial(_adaptive_pool, Op.Avgpool) for name in "_adaptive_avg_pool2d _adaptive_avg_pool3d".split()},
    **{name: partial(_adaptive_pool, Op.Maxpool) for name in "adaptive_max_pool2d adaptive_max_pool3d".split()},
    "hardswish": _hard_swish,
    "mish": _mish,
    "torchvision::deform_conv2d": _deformable,
    "torchvision::roi_align": partial(_regions, Op.RoIAlign),
    "torchvision::roi_pool": partial(_regions, Op.RoIAlign),
}
