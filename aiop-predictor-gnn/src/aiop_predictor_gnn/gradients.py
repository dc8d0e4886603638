"""The network's gradient, written out, for steps so small that autograd takes longer than the arithmetic.

A step of one graph is some hundred operations of a few microseconds. Autograd's
bookkeeping, a gradient tensor for each parameter, and an optimizer that visits them one
by one make it three to four times longer. Here every layer computes its own gradient into a
slice of one tensor, without autograd. What it gives is tested against autograd.

Each layer keeps what its last ``forward`` was given; ``backward`` takes the gradient of
the loss with respect to the result and gives that with respect to the input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aiop_predictor_gnn.batching import Gather
from aiop_predictor_gnn.encoder import HIDDEN, GraphConv, NodeEmbedding
from aiop_predictor_gnn.nodes import NodeFeatures

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's constants, as in torch."""

TINY = 1e-6
"""Keeps a gradient of 0 from being divided by 0, as torch's ``clip_grad_norm_``."""

_tanh_backward = torch.ops.aten.tanh_backward.default


@dataclass(frozen=True, eq=False)
class Weight:
    """A matrix or vector of parameters, and where its gradient goes; nowhere if it is frozen."""

    value: Tensor
    gradient: Tensor
    free: bool

    def t(self) -> Weight:
        """The same transposed; a vector as one row."""
        value, gradient = (part.t() if part.ndim == 2 else part.unsqueeze(0) for part in (self.value, self.gradient))
        return Weight(value, gradient, self.free)


class FlatParameters:
    """The parameters of modules in one tensor, and their gradients in another.

    Until ``release`` the modules' parameters are parts of that tensor: a change of ``values``
    changes the modules.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.parameters = [parameter for module in modules for parameter in _in_order(module)]
        self.values = torch.cat([p.detach().flatten() for p in self.parameters])
        self.gradients = torch.zeros_like(self.values)
        self._starts: dict[Tensor, int] = {}
        start = 0
        for parameter in self.parameters:
            self._starts[parameter] = start
            parameter.data = self.values[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()

    def release(self) -> None:
        """Give every parameter memory of its own again."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

    def weight(self, *parameters: Tensor) -> Weight:
        """Parameters that follow each other, one below the other; those of other modules are frozen."""
        value = torch.cat([p.detach() for p in parameters])
        start = self._starts.get(parameters[0])
        if start is None:
            return Weight(value, torch.empty_like(value), free=False)
        part = slice(start, start + value.numel())
        return Weight(self.values[part].view_as(value), self.gradients[part].view_as(value), free=True)


def _in_order(module: nn.Module) -> list[Tensor]:
    """The parameters of ``module``, the two matrices of a convolution side by side."""
    found: list[Tensor] = []
    for part in module.modules():
        if isinstance(part, GraphConv):
            found += [part.lin_root.weight, part.lin_rel.weight, part.lin_rel.bias]
    known = set(found)
    return found + [p for p in module.parameters() if p not in known]


class Convolution:
    """A :class:`~aiop_predictor_gnn.encoder.GraphConv` and its tanh."""

    def __init__(self, layer: GraphConv, flat: FlatParameters) -> None:
        self.weight = flat.weight(layer.lin_root.weight, layer.lin_rel.weight)
        self.bias = flat.weight(layer.lin_rel.bias)

    def forward(self, x: Float[Tensor, "m inputs"], hop: Gather) -> Float[Tensor, "n outputs"]:
        """One row for each row of ``hop``."""
        self.x, self.hop = x, hop
        parts = torch.mm(x, self.weight.value.t()).view(-1, len(self.bias.value))
        self.y = hop.add_up(parts).add_(self.bias.value).tanh_()
        return self.y

    def backward(self, gradient: Tensor) -> Tensor:
        """See above."""
        gradient = _tanh_backward(gradient, self.y)
        parts = self.hop.spread(gradient).view(len(self.x), -1)
        if self.weight.free:
            torch.mm(parts.t(), self.x, out=self.weight.gradient)
            torch.sum(gradient, 0, out=self.bias.gradient)
        return torch.mm(parts, self.weight.value)


class Perceptron:
    """A projection and its output."""

    def __init__(self, projection: nn.Sequential, output: nn.Linear, flat: FlatParameters) -> None:
        layers = [*projection, output]
        self.linear = [
            (flat.weight(layer.weight), flat.weight(layer.bias)) for layer in layers if isinstance(layer, nn.Linear)
        ]
        self.rectified = [isinstance(layer, nn.ReLU) for layer in layers].index(True)
        """Before which linear layer negative numbers become 0."""

    def forward(self, x: Float[Tensor, "g inputs"]) -> Float[Tensor, " g"]:
        """One number for each row."""
        self.inputs = []
        for i, (weight, bias) in enumerate(self.linear):
            x = x.relu_() if i == self.rectified else x
            self.inputs.append(x)
            x = torch.addmm(bias.value, x, weight.value.t())
        return x.squeeze(1)

    def backward(self, gradient: Float[Tensor, " g"]) -> Tensor:
        """See above."""
        gradient = gradient.unsqueeze(1)
        for i, (weight, bias) in reversed([*enumerate(self.linear)]):
            if weight.free:
                torch.mm(gradient.t(), self.inputs[i], out=weight.gradient)
                torch.sum(gradient, 0, out=bias.gradient)
            gradient = torch.mm(gradient, weight.value)
            if i == self.rectified:
                gradient.mul_(self.inputs[i] > 0)
        return gradient


class Embedding:
    """A :class:`~aiop_predictor_gnn.encoder.NodeEmbedding` as one matrix product.

    All that a node shows is one-hot or a number, so that its embedding is linear in it. The
    matrix has the parameters at their places, those that serve both kinds of nodes twice.
    """

    def __init__(self, module: NodeEmbedding, flat: FlatParameters) -> None:
        self.ops, self.kernels = module.regular_op.num_embeddings, module.kernel.num_embeddings
        regular, weighted = flat.weight(module.regular_op.weight), flat.weight(module.weighted_op.weight)
        side = flat.weight(module.kernel.weight)
        size, size_bias = flat.weight(module.resolution.weight).t(), flat.weight(module.resolution.bias).t()
        bias, bias_bias = flat.weight(module.bias.weight).t(), flat.weight(module.bias.bias).t()
        after = module.weighted_op.embedding_dim + module.resolution.out_features
        last = after + 2 * module.kernel.embedding_dim
        rows = [  # of the matrix, in the order of ``read``, and the column at which each begins
            *((regular, 0), (size, module.regular_op.embedding_dim), (size_bias, module.regular_op.embedding_dim)),
            *((weighted, 0), (size, module.weighted_op.embedding_dim), (size_bias, module.weighted_op.embedding_dim)),
            *((side, after), (side, after + module.kernel.embedding_dim), (bias, last), (bias_bias, last)),
        ]
        self.matrix = torch.zeros(sum(len(part.value) for part, _ in rows), HIDDEN, device=flat.values.device)
        self.gradient = torch.zeros_like(self.matrix)
        self.parts = [part.value for part, _ in rows]
        self.places: list[Tensor] = []
        self.once: tuple[list[Tensor], list[Tensor]] = [], []
        self.again: tuple[list[Tensor], list[Tensor]] = [], []
        start = 0
        for i, (part, column) in enumerate(rows):
            place = slice(start, start + len(part.value)), slice(column, column + part.value.shape[1])
            self.places.append(self.matrix[place])
            targets, sources = self.again if part in [earlier for earlier, _ in rows[:i]] else self.once
            targets.append(part.gradient)
            sources.append(self.gradient[place])
            start += len(part.value)

    def read(self, nodes: NodeFeatures) -> Float[Tensor, "n features"]:
        """What ``forward`` takes: for each part of the matrix, its columns."""
        weighted = nodes.weighted[:, None].to(nodes.resolution.dtype)
        one = torch.ones_like(weighted)
        op = torch.cat([functional.one_hot(nodes.op, self.ops), nodes.resolution, one], dim=1)
        kernel = functional.one_hot(nodes.kernel, self.kernels).flatten(1)
        rest = torch.cat([kernel, functional.one_hot(nodes.bias, 2), one], dim=1)
        return torch.cat([op * (1 - weighted), op * weighted, rest * weighted], dim=1)

    def forward(self, nodes: Float[Tensor, "n features"]) -> Float[Tensor, "n hidden"]:
        """Embed every node."""
        self.nodes = nodes
        torch._foreach_copy_(self.places, self.parts)
        return torch.mm(nodes, self.matrix)

    def backward(self, gradient: Float[Tensor, "n hidden"]) -> None:
        """See above."""
        torch.mm(self.nodes.t(), gradient, out=self.gradient)
        torch._foreach_copy_(self.once[0], self.once[1])
        torch._foreach_add_(self.again[0], self.again[1])


class Adam:
    """Adam on flat parameters, their gradient clipped before: torch's, without its visit to each group and state.

    Source: Kingma and Ba, "Adam", ICLR-15.
    """

    def __init__(self, parameters: FlatParameters, lr: float, *, max_norm: float) -> None:
        self.values, self.gradients = parameters.values, parameters.gradients
        self.lr, self.max_norm = lr, max_norm
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.steps = 0

    def step(self) -> None:
        """Follow the gradient."""
        self.steps += 1
        self.gradients.mul_((self.max_norm / (self.gradients.norm() + TINY)).clamp(max=1))
        self.mean.lerp_(self.gradients, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(self.gradients, self.gradients, value=1 - BETAS[1])
        spread = self.square.sqrt().div_((1 - BETAS[1] ** self.steps) ** 0.5).add_(EPSILON)
        self.values.addcdiv_(self.mean, spread, value=-self.lr / (1 - BETAS[0] ** self.steps))
