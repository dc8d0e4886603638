"""The loss of whatever a network gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def differentiable(output: Any) -> Iterator[Tensor]:
    """Every tensor with a gradient in lists, dictionaries and dataclasses, in their order."""
    if isinstance(output, Tensor):
        if output.requires_grad:
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from differentiable(value)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for value in output:
            yield from differentiable(value)
    elif is_dataclass(output):
        for field in fields(output):
            yield from differentiable(getattr(output, field.name))


def random_label_loss(outputs: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Cross-entropy with labels drawn evenly from as many classes as an output has channels.

    That is the papers' loss of a classifier. Feature maps and tokens are averaged over their
    positions first, as a classifier on top of them would do; the losses of several outputs
    are added. A single channel is the logit of one class against another.
    """
    return torch.stack([_loss(logits(output), generator) for output in outputs]).sum()


def _loss(found: Tensor, generator: torch.Generator) -> Tensor:
    labels = torch.randint(found.shape[1], (len(found),), generator=generator)
    return cross_entropy(found, labels.to(found.device))


def logits(output: Tensor) -> Tensor:
    """An output as (rows, classes): maps have channels second, tokens (three axes) last."""
    if output.ndim < 2:
        output = output.reshape(-1, 1)
    elif output.ndim == 3:
        output = output.mean(dim=1)
    elif output.ndim > 3:
        output = output.flatten(2).mean(dim=2)
    return output if output.shape[1] > 1 else torch.cat([torch.zeros_like(output), output], dim=1)
