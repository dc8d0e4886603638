"""The global random states of Python, numpy and torch, which no plugin may rely on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from aiop_core.testing.promise import require

_UNLIKELY_SEED = 918_273_645
"""Seeding with a number that plugins do not choose shows those that seed anew."""


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed all global generators; their old states come back afterwards."""
    import torch

    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


@contextmanager
def no_global_randomness(what: str) -> Iterator[None]:
    """Watch that nothing draws from a global generator, or seeds one.

    Raises:
        ContractError: naming ``what`` and the generator that it touched.
    """
    with global_seed(_UNLIKELY_SEED):
        before = _states()
        yield
        touched = [name for name, state in _states().items() if state != before[name]]
    require(
        not touched,
        f"{what} changed the global random state of {', '.join(touched)}; use a generator made from the seed",
    )


def _states() -> dict[str, bytes]:
    import torch

    return {
        "random": repr(random.getstate()).encode(),
        "numpy": repr([getattr(part, "tolist", lambda part=part: part)() for part in np.random.get_state()]).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
