"""Bringing a trained network to a target by few labels: fine-tuning and rescaling.

Source: AIO-P (AAAI-23); ``run_gpi_acc_predictor.py`` of its code. Which weights
may change are that code's modes of ``-k_adapt``; :data:`FREE` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aiop_core.contracts import Progress
from aiop_predictor_gnn.adapters import AdaptedRegressor, Adapter, roots
from aiop_predictor_gnn.batching import Batch, Layers
from aiop_predictor_gnn.encoder import HIDDEN, LAYERS, GraphConv, GraphRegressor
from aiop_predictor_gnn.gradients import Adam, Convolution, Embedding, FlatParameters, Perceptron
from aiop_predictor_gnn.options import TuneOptions
from aiop_predictor_gnn.rescaling import Rescaling, rescale
from aiop_predictor_gnn.training import MAX_GRADIENT_NORM

FREE = {
    "heads": frozenset({"heads"}),
    "adapters": frozenset({"heads", "adapters"}),
    "backbone": frozenset({"heads", "backbone"}),
    "all": frozenset({"heads", "adapters", "backbone"}),
}
"""What changes beside what stays, for each kind of fine-tuning: modes 0, 3, 1 and 2 of ``-k_adapt``.

The backbone's node embedding stays, but where there are no adapters and all is free.
"""


@dataclass(frozen=True)
class Example:
    """A batch with its targets, and what of the network's work on it never changes.

    Attributes:
        batch: the graphs.
        targets: a scaled label for each.
        nodes: what the embedding reads of distinct nodes.
        first: rows of distinct nodes, for each row after the first hop.
        last: rows before the last hop, for each row after it.
        embedded: the embedding of distinct nodes, if it stays.
        states: the backbone's states, if they stay.
        features: the graph embeddings that each head reads, if they stay.
    """

    batch: Batch
    targets: Float[Tensor, " g"]
    nodes: Tensor
    first: Tensor
    last: Tensor
    embedded: Tensor | None = None
    states: list[Tensor] | None = None
    features: list[Tensor] | None = None


class Step:
    """The squared error of a batch and its gradient, for the parameters that are free.

    Args:
        network: the backbone; without adapters its own head predicts.
        adapters: those whose mean is the prediction.
        free: among ``heads``, ``adapters``, ``backbone`` and, without adapters, ``embedding``.
    """

    def __init__(self, network: GraphRegressor, adapters: Sequence[Adapter], free: frozenset[str]) -> None:
        self.free = free
        self.network = network
        heads: Sequence[GraphRegressor | Adapter] = adapters or [network]
        parts: dict[str, list[nn.Module]] = {
            "heads": [module for head in heads for module in (head.projection, head.output)],
            "adapters": [adapter.layers for adapter in adapters],
            "backbone": [network.encoder],
            "embedding": [network.embedding],
        }
        self.parameters = FlatParameters(module for part in parts if part in free for module in parts[part])
        self.heads = [Perceptron(head.projection, head.output, self.parameters) for head in heads]
        self.backbone = self._convolutions(network.encoder.layers)
        self.adapters = [self._convolutions(adapter.layers) for adapter in adapters]
        self.embedding = Embedding(network.embedding, self.parameters)

    def _convolutions(self, layers: nn.ModuleList) -> list[Convolution]:
        return [Convolution(layer, self.parameters) for layer in layers if isinstance(layer, GraphConv)]

    def example(self, batch: Batch, targets: Tensor) -> Example:
        """What ``__call__`` takes; everything that stays is computed here, once."""
        nodes = self.embedding.read(batch.nodes)
        example = Example(batch, targets, nodes, roots(batch.hops[0]), roots(batch.hops[-1]))
        if "embedding" not in self.free:
            example = replace(example, embedded=self.embedding.forward(nodes))
            if "backbone" not in self.free:
                example = replace(example, states=self._states(example))
                if "adapters" not in self.free:
                    example = replace(example, features=self._features(example))
        return example

    def __call__(self, example: Example) -> Tensor:
        """The mean squared error; its gradient is in ``parameters`` afterwards."""
        features = self._features(example) if example.features is None else example.features
        outputs = [head.forward(graphs) for head, graphs in zip(self.heads, features, strict=True)]
        error = sum(outputs[1:], outputs[0]) / len(outputs) - example.targets
        gradient = error * (2 / (len(error) * len(outputs)))
        gradients = [head.backward(gradient) for head in self.heads]
        if example.features is None:
            self._backward(example, gradients)
        return error.square().mean()

    def _states(self, example: Example) -> list[Tensor]:
        """What nodes are to the backbone before and after each of its layers."""
        batch = example.batch
        states = [self.embedding.forward(example.nodes) if example.embedded is None else example.embedded]
        for layer, hop in zip(self.backbone, batch.hops[:LAYERS], strict=True):
            states.append(layer.forward(states[-1], hop))
        return states

    def _features(self, example: Example) -> list[Tensor]:
        """For each head, what it reads of each graph."""
        batch = example.batch
        states = self._states(example) if example.states is None else example.states
        if not self.adapters:
            return [batch.readout.add_up(states[-1]) / batch.sizes]
        base = batch.readout.add_up(states[-1][example.last])
        features = []
        for layers in self.adapters:
            x = states[0][example.first]
            for layer, state, hop in zip(layers, states[1:], batch.hops[1:], strict=True):
                x = layer.forward(torch.cat([state, x], dim=1), hop)
            features.append(torch.cat([base, batch.readout.add_up(x)], dim=1) / batch.sizes)
        return features

    def _backward(self, example: Example, gradients: list[Tensor]) -> None:
        """From the gradients of the features on."""
        batch = example.batch
        of_states: list[Tensor | float] = [0.0] * (LAYERS + 1)
        if self.adapters:
            for layers, gradient in zip(self.adapters, gradients, strict=True):
                x = batch.readout.spread((gradient / batch.sizes)[:, HIDDEN:])
                for i, layer in reversed([*enumerate(layers, start=1)]):
                    state, x = layer.backward(x).split(HIDDEN, dim=1)
                    of_states[i] = of_states[i] + state
            if example.states is not None:
                return
            base = batch.readout.spread(torch.stack(gradients).sum(dim=0)[:, :HIDDEN] / batch.sizes)
            x = torch.as_tensor(of_states[-1]).index_add(0, example.last, base)
        else:
            x = batch.readout.spread(gradients[0] / batch.sizes)
        for i, layer in reversed([*enumerate(self.backbone)]):
            x = layer.backward(x)
            x = x + of_states[i] if self.adapters else x
        if example.embedded is None:
            self.embedding.backward(x)


def fine_tune(
    network: GraphRegressor,
    adapters: Sequence[Adapter],
    layers: Layers,
    targets: Float[np.ndarray, " n"],
    options: TuneOptions,
    *,
    rng: np.random.Generator,
    device: str,
    progress: Progress,
) -> dict[str, float]:
    """Adam on the squared error, in place; batches are drawn once, and come in a new order each epoch."""
    free = FREE[options.what]
    if not adapters and options.what == "all":
        free |= {"embedding"}
    step = Step(network, adapters, free)
    report = {"free_parameters": float(len(step.parameters.values)), "epochs": float(options.epochs)}
    with torch.inference_mode():
        optimizer = Adam(step.parameters, options.lr, max_norm=MAX_GRADIENT_NORM)
        examples = [
            step.example(layers.take(ids).batch(device), _on(device, targets[ids]))
            for ids in _parts(rng.permutation(len(layers)), options.batch_size)
        ]
        for epoch in range(options.epochs):
            losses = []
            for i in rng.permutation(len(examples)):
                losses.append(step(examples[i]))
                optimizer.step()
            report["train_loss"] = float(torch.stack(losses).mean())
            progress(epoch + 1, options.epochs, f"loss {report['train_loss']:.4f}")
    step.parameters.release()
    return report


def tune_rescaling(
    network: GraphRegressor,
    adapters: Sequence[Adapter],
    layers: Layers,
    targets: Float[np.ndarray, " n"],
    options: TuneOptions,
    *,
    rng: np.random.Generator,
    device: str,
    progress: Progress,
) -> dict[str, float]:
    """Adam on the error and the penalty, for α and b alone; they end up in the weights of the last layers."""
    wanted = _on(device, targets)
    with torch.no_grad():
        batch = layers.batch(device)
        if adapters:
            states = AdaptedRegressor(network, adapters).states(batch)
            read = torch.stack([adapter.projection(adapter(states, batch)) for adapter in adapters])
        else:
            read = network.projection(network.embed(batch)).unsqueeze(0)
    outputs = [adapter.output for adapter in adapters] or [network.output]
    rescaling = Rescaling(outputs).to(device)
    optimizer = torch.optim.Adam(rescaling.parameters(), lr=options.lr, fused=True)
    error = functional.l1_loss if options.loss == "l1" else functional.mse_loss
    report = {"free_parameters": float(sum(p.numel() for p in rescaling.parameters())), "epochs": float(options.epochs)}
    for epoch in range(options.epochs):
        losses = []
        for ids in _parts(rng.permutation(len(layers)), options.batch_size):
            loss = error(rescaling(read[:, ids]), wanted[ids]) + options.penalty * rescaling.penalty()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(rescaling.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            losses.append(loss.detach())
        report["train_loss"] = float(torch.stack(losses).mean())
        progress(epoch + 1, options.epochs, f"loss {report['train_loss']:.4f}")
    for output, alpha, b in zip(outputs, rescaling.alpha, rescaling.b, strict=True):
        rescale(output, alpha, b)
    return report | {"alpha": rescaling.alpha.mean().item(), "b_l1": rescaling.penalty().item()}


def _parts(ids: np.ndarray[Any, Any], size: int) -> list[np.ndarray[Any, Any]]:
    """``ids`` in batches."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _on(device: str, targets: np.ndarray[Any, Any]) -> Tensor:
    return torch.as_tensor(targets, dtype=torch.float32, device=device)
