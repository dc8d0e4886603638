"""Fitting a network to scaled labels: Adam on the squared error, the best moment kept."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from aiop_core.contracts import Progress
from aiop_predictor_gnn.batching import Batch, Layers
from aiop_predictor_gnn.options import AdaptOptions, GnnOptions

MAX_GRADIENT_NORM = 5.0
"""Gradients are clipped to it (paper's code, ``train_predictor``)."""

WARM_UP = 0.05
"""Part of the steps in which the learning rate rises."""

CHECKS = 50
"""How often a fit looks at its losses."""

MIN_VALIDATION = 25
"""Fewer labels than this are worth more in training: on OFA-MobileNetV3, the error at 100
labels is 0.12 % with 10 of them kept, and 0.10 % with none; at 500 there is no difference."""


def train(
    network: nn.Module,
    layers: Layers,
    targets: Float[np.ndarray, " n"],
    options: GnnOptions | AdaptOptions,
    *,
    rng: np.random.Generator,
    device: str,
    progress: Progress,
) -> dict[str, float]:
    """Fit the free parameters of ``network``, which is on ``device`` already, in place.

    Args:
        network: ends with the weights of the best check if a validation part was kept,
            else with those of the last step.
        layers: the graphs.
        targets: a scaled label for each.
        options: how long, and how fast.
        rng: draws the validation part and the order of batches.
        device: where batches go.
        progress: told at every check.

    Returns:
        Numbers for the log. Losses are mean squared errors of scaled labels;
        ``validation_labels`` is 0 where too few were given to keep any.
    """
    order = rng.permutation(len(layers))
    aside = round(len(order) * options.validation)
    if aside < MIN_VALIDATION:
        aside = 0
    held_out, kept = order[:aside], order[aside:]
    wanted = torch.as_tensor(targets, dtype=torch.float32, device=device)
    validation = layers.take(held_out).batch(device) if aside else None

    steps = max(options.min_steps, options.epochs * math.ceil(len(kept) / options.batch_size))
    every = max(1, steps // CHECKS)
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=options.lr, weight_decay=options.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    report = {"train_labels": float(len(kept)), "validation_labels": float(aside)}
    best_loss, best_step, best_state = math.inf, 0, network.state_dict()
    losses: list[Tensor] = []
    for step, (ids, batch) in zip(
        range(1, steps + 1), _batches(layers, kept, options.batch_size, rng, device), strict=False
    ):
        loss = functional.mse_loss(network(batch), wanted[ids])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(free, MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        if step % every and step < steps:
            continue
        report |= {"steps": float(step), "train_loss": float(torch.stack(losses).mean())}
        losses.clear()
        note = f"loss {report['train_loss']:.4f}"
        if validation is not None:
            with torch.no_grad():
                found = float(functional.mse_loss(network(validation), wanted[held_out]))
            note += f", validation {found:.4f}"
            if found < best_loss:
                best_loss, best_step = found, step
                best_state = {name: value.clone() for name, value in network.state_dict().items()}
        progress(step, steps, note)
        if validation is not None and step - best_step > options.patience * steps:
            break
    if validation is not None:
        network.load_state_dict(best_state)
        report |= {"validation_loss": best_loss, "best_step": float(best_step)}
    return report


def _rate(step: int, steps: int) -> float:
    """The learning rate's part at ``step``: a linear warm-up, then half a cosine to 0."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _batches(
    layers: Layers, graphs: Int[np.ndarray, " t"], size: int, rng: np.random.Generator, device: str
) -> Iterator[tuple[Int[Tensor, " b"], Batch]]:
    """Graph numbers and their batch, for ever; each pass over ``graphs`` in a new order."""
    whole = layers.take(graphs).batch(device) if len(graphs) <= size else None
    while True:
        order = graphs if whole else rng.permutation(graphs)
        for start in range(0, len(order), size):
            ids = order[start : start + size]
            yield torch.as_tensor(ids, device=device), whole or layers.take(ids).batch(device)
