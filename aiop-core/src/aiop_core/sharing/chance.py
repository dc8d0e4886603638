"""Random numbers that follow from a seed and the number of a step alone, so that a training can go on from any step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ZETA, CHANGES, ORDER = range(3)
"""Streams of chance: draws of features, changes of images, order of images. A task may add its own."""


def generator_of(seed: int, stream: int, number: int, device: str = "cpu") -> torch.Generator:
    """A generator for one number, such as of a step or an epoch, of a stream."""
    state = np.random.SeedSequence((seed, stream, number)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]) >> 1)


@contextmanager
def own_randomness(seed: int, device: str) -> Iterator[None]:
    """Dropout and the like can only draw from the global generator: seed it, and put it back after."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
