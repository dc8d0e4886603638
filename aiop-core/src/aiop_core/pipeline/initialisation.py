"""Random weights that follow from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def architecture_seed(seed: int, spec: str) -> int:
    """The seed of one architecture in a run: it depends neither on the order nor on what else is there."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{spec}".encode()).digest()[:4])


@contextmanager
def initialisation(seed: int) -> Iterator[None]:
    """Random weights follow from ``seed``, and torch's global state is as before afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
