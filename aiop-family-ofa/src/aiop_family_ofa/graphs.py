"""The computation graph of a plan, composed without building a module."""

from __future__ import annotations

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_family_ofa.plans import (
    CLASSES,
    POOL_KERNEL,
    POOL_STRIDE,
    Activation,
    BottleneckPlan,
    ConvPlan,
    MBConvPlan,
    NetworkPlan,
)


def compose(plan: NetworkPlan, input_hw: tuple[int, int]) -> Graph:
    """The classifier's graph for images of ``input_hw``; equal to the traced one."""
    build = GraphBuilder()
    x = build.input(input_hw)
    for conv in plan.stem.values():
        x = _conv(build, x, conv)
    if plan.stem_pool:
        x = _pool(build, x, Op.Maxpool, POOL_KERNEL, POOL_STRIDE)
    for block in plan.blocks.values():
        x = _mbconv(build, x, block) if isinstance(block, MBConvPlan) else _bottleneck(build, x, block)
    if plan.expand:
        x = _conv(build, x, plan.expand)
    x = build.mean(x)
    if plan.mix:
        x = _conv(build, x, plan.mix)
    build.output(build.linear(x, CLASSES))
    return build.build()


def _conv(build: GraphBuilder, x: int, plan: ConvPlan) -> int:
    y = build.conv(x, plan.channels, plan.kernel, stride=plan.stride)
    if plan.batch_norm:
        y = build.batch_norm(y)
    y = _activation(build, y, plan.activation)
    return build.add(Op.Add, (x, y)) if plan.residual else y


def _mbconv(build: GraphBuilder, x: int, plan: MBConvPlan) -> int:
    y = x
    if plan.expands:
        y = _activation(build, build.batch_norm(build.conv(y, plan.hidden, 1)), plan.activation)
    y = build.batch_norm(build.conv(y, plan.hidden, plan.kernel, stride=plan.stride, groups=plan.hidden))
    y = _activation(build, y, plan.activation)
    if plan.squeeze:
        y = _squeeze_excite(build, y, plan.squeeze)
    y = build.batch_norm(build.conv(y, plan.channels, 1))
    return build.add(Op.Add, (x, y)) if plan.residual else y


def _squeeze_excite(build: GraphBuilder, x: int, squeeze: int) -> int:
    shape = build.shape(x)
    y = build.add(Op.ReLU, (build.conv(build.mean(x), squeeze, 1, bias=True),))
    y = build.add(Op.ReLU6, (build.conv(y, shape[2], 1, bias=True),))
    return build.add(Op.Mul, (x, y), shape)


def _bottleneck(build: GraphBuilder, x: int, plan: BottleneckPlan) -> int:
    shortcut = x
    if plan.downsample:
        shortcut = _pool(build, x, Op.Avgpool, plan.stride, plan.stride)
        shortcut = build.batch_norm(build.conv(shortcut, plan.channels, 1))
    y = build.add(Op.ReLU, (build.batch_norm(build.conv(x, plan.hidden, 1)),))
    y = build.add(Op.ReLU, (build.batch_norm(build.conv(y, plan.hidden, 3, stride=plan.stride)),))
    y = build.batch_norm(build.conv(y, plan.channels, 1))
    return build.add(Op.ReLU, (build.add(Op.Add, (shortcut, y)),))


def _pool(build: GraphBuilder, x: int, op: Op, kernel: int, stride: int) -> int:
    h, w, c = build.shape(x)
    return build.add(op, (x,), (-(-h // stride), -(-w // stride), c), kernel=(kernel, kernel), stride=(stride, stride))


def _activation(build: GraphBuilder, x: int, activation: Activation) -> int:
    if activation is Activation.HARD_SWISH:
        return build.hard_swish(x)
    return build.add(Op.ReLU if activation is Activation.RELU else Op.ReLU6, (x,))
