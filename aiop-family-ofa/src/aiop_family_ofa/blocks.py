"""The building blocks as torch modules; submodules are called as in the published checkpoints."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from aiop_family_ofa.plans import Activation, BottleneckPlan, ConvPlan, MBConvPlan


def activation(kind: Activation) -> nn.Module:
    """A fresh module of that non-linearity."""
    if kind is Activation.HARD_SWISH:
        return nn.Hardswish()
    return nn.ReLU(inplace=True) if kind is Activation.RELU else nn.ReLU6(inplace=True)


def conv_layer(plan: ConvPlan, eps: float) -> nn.Module:
    """Convolution, batch norm, activation; added to the input where the plan says so."""
    layer = _layer(plan.in_channels, plan.channels, plan.kernel, plan.stride, eps if plan.batch_norm else None)
    layer.add_module("act", activation(plan.activation))
    return Residual(layer) if plan.residual else layer


class Residual(nn.Module):
    """A layer and the identity beside it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Input plus the layer's output."""
        y: Tensor = self.conv(x)
        return x + y


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate that sees the means of all channels."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            OrderedDict[str, nn.Module](
                reduce=nn.Conv2d(channels, squeeze, 1),
                relu=nn.ReLU(inplace=True),
                expand=nn.Conv2d(squeeze, channels, 1),
                h_sigmoid=nn.Hardsigmoid(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with its channels scaled."""
        gate: Tensor = self.fc(x.mean((2, 3), keepdim=True))
        return x * gate


class MBConv(nn.Module):
    """An inverted bottleneck of :class:`~aiop_family_ofa.plans.MBConvPlan`."""

    def __init__(self, plan: MBConvPlan, eps: float) -> None:
        super().__init__()
        self._residual = plan.residual
        self.inverted_bottleneck: nn.Module = nn.Identity()
        if plan.expands:
            self.inverted_bottleneck = _layer(plan.in_channels, plan.hidden, 1, 1, eps)
            self.inverted_bottleneck.add_module("act", activation(plan.activation))
        self.depth_conv = _layer(plan.hidden, plan.hidden, plan.kernel, plan.stride, eps, groups=plan.hidden)
        self.depth_conv.add_module("act", activation(plan.activation))
        if plan.squeeze:
            self.depth_conv.add_module("se", SqueezeExcite(plan.hidden, plan.squeeze))
        self.point_linear = _layer(plan.hidden, plan.channels, 1, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, plus ``x`` where the shapes agree."""
        y: Tensor = self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))
        return x + y if self._residual else y


class Bottleneck(nn.Module):
    """A ResNet-D bottleneck of :class:`~aiop_family_ofa.plans.BottleneckPlan`.

    The pooling of a shortcut without stride has a 1×1 window, which changes nothing; it
    stays because the published networks, and their graphs, have it.
    """

    def __init__(self, plan: BottleneckPlan, eps: float) -> None:
        super().__init__()
        self.conv1 = _layer(plan.in_channels, plan.hidden, 1, 1, eps)
        self.conv1.add_module("act", nn.ReLU(inplace=True))
        self.conv2 = _layer(plan.hidden, plan.hidden, 3, plan.stride, eps)
        self.conv2.add_module("act", nn.ReLU(inplace=True))
        self.conv3 = _layer(plan.hidden, plan.channels, 1, 1, eps)
        self.downsample: nn.Module = nn.Identity()
        if plan.downsample:
            pool = nn.AvgPool2d(plan.stride, plan.stride, ceil_mode=True)
            conv = _layer(plan.in_channels, plan.channels, 1, 1, eps)
            self.downsample = nn.Sequential(OrderedDict[str, nn.Module](avg_pool=pool, **dict(conv.named_children())))
        self.final_act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The activated sum of both branches."""
        y: Tensor = self.final_act(self.downsample(x) + self.conv3(self.conv2(self.conv1(x))))
        return y


def _layer(
    in_channels: int, channels: int, kernel: int, stride: int, eps: float | None, *, groups: int = 1
) -> nn.Sequential:
    """A convolution padded to keep the size, and its batch norm unless ``eps`` is None."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layer = nn.Sequential(OrderedDict[str, nn.Module](conv=conv))
    if eps is not None:
        layer.add_module("bn", nn.BatchNorm2d(channels, eps=eps))
    return layer
