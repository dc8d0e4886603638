"""k-adapters: what a trained network learns of further data sets while it stays as it is.

An adapter reads all hidden states of the frozen network, the backbone, and fuses each with
its own; its head sees the graph embeddings of both. Several adapters are averaged, or one
of them is chosen.

Source: AIO-P (AAAI-23), after Wang et al., "K-Adapter", ACL-21;
``multitask/k_adapters.py`` of its code. Wiring and parameters are that code's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aiop_predictor_gnn.batching import Batch, Gather
from aiop_predictor_gnn.encoder import HIDDEN, LAYERS, GraphConv, GraphRegressor, initialise, projection

HOPS = LAYERS + 1
"""Hops that a batch needs: an adapter's first layer reads what the backbone's first one wrote."""


def roots(hop: Gather) -> Tensor:
    """For each row after a hop, the row before it of the same node."""
    return hop.indices[hop.offsets.long()].long() // 2


class Adapter(nn.Module):
    """Convolutions that fuse the backbone's states with the adapter's own, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GraphConv(2 * HIDDEN, HIDDEN) for _ in range(LAYERS))
        self.projection = projection(2 * HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)

    @classmethod
    def initialised(cls, generator: torch.Generator) -> Adapter:
        """An adapter with random weights."""
        with torch.device("meta"):  # torch's own initialisation would draw from the global generator
            adapter = cls()
        adapter.to_empty(device=generator.device)
        initialise(adapter, generator)
        return adapter

    def forward(self, states: Sequence[Tensor], batch: Batch) -> Float[Tensor, "g two_hidden"]:
        """The graph embeddings of backbone and adapter, from the backbone's states."""
        x = states[0][roots(batch.hops[0])]
        for layer, state, hop in zip(self.layers, states[1:], batch.hops[1:], strict=True):
            x = torch.tanh(layer(torch.cat([state, x], dim=1), hop))
        both = torch.cat([states[-1][roots(batch.hops[-1])], x], dim=1)
        return batch.readout(both) / batch.sizes

    def head(self, graphs: Float[Tensor, "g two_hidden"]) -> Float[Tensor, " g"]:
        """The prediction from both embeddings."""
        prediction: Tensor = self.output(self.projection(graphs)).squeeze(1)
        return prediction


class AdaptedRegressor(nn.Module):
    """The mean of what several adapters of one backbone predict.

    Args:
        backbone: the network whose states they read.
        adapters: one or more.
    """

    def __init__(self, backbone: GraphRegressor, adapters: Sequence[Adapter]) -> None:
        super().__init__()
        self.backbone = backbone
        self.adapters = nn.ModuleList(adapters)

    def states(self, batch: Batch) -> list[Tensor]:
        """The backbone's states of a batch of ``HOPS`` hops."""
        return self.backbone.encoder.states(self.backbone.embedding(batch.nodes), batch.hops[:LAYERS])

    def forward(self, batch: Batch) -> Float[Tensor, " g"]:
        """The scaled label of each graph."""
        states = self.states(batch)
        heads = [adapter.head(adapter(states, batch)) for adapter in self.adapters if isinstance(adapter, Adapter)]
        return torch.stack(heads).mean(dim=0)
