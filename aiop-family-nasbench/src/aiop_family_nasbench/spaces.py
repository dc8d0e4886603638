"""What the search spaces have in common: drawing architectures, and reading texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from aiop_core.contracts import Architecture
from aiop_core.errors import SpecError
from aiop_family_nasbench.plans import NetworkPlan

A = TypeVar("A", bound=Architecture)

MAX_LENGTH = 4096
"""Characters of a text; the longest description of a cell has a few hundred."""

_SHOWN = 60


class Space(Protocol[A]):
    """A search space and the networks of its architectures; needs no torch."""

    @property
    def input_hw(self) -> tuple[int, int]:
        """The (height, width) of the benchmark's images."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> list[A]:
        """``count`` distinct architectures."""
        ...

    def parse(self, text: str) -> A:
        """The architecture that a text describes."""
        ...

    def plan(self, architecture: A) -> NetworkPlan:
        """The network of an architecture."""
        ...


def draw(title: str, size: int, count: int, rng: np.random.Generator) -> list[int]:
    """``count`` distinct numbers below ``size``; more of them begin with the fewer.

    Raises:
        SpecError: if the space has fewer, or ``count`` is negative.
    """
    if not 0 <= count <= size:
        raise SpecError(f"{count} architectures were asked of {title}, which has {size}; ask for 0 to that many")
    numbers: list[int] = rng.permutation(size)[:count].tolist()
    return numbers


def read(text: str, *, title: str, example: str, reader: Callable[[str], A]) -> A:
    """What ``reader``, which raises ValueError with a reason, makes of ``text``.

    Raises:
        SpecError: in one line: what is wrong, what was given, what is allowed, an example.
    """
    text = text.strip()
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the text has {len(text)} characters, allowed are {MAX_LENGTH}")
        return reader(text)
    except ValueError as problem:
        raise SpecError(f"'{shown(text)}' is not a spec of {title}: {problem}; an example: {example}") from None


def shown(text: str) -> str:
    """The beginning of a text, on one line."""
    given = " ".join(text[: _SHOWN + 1].split())
    return f"{given[:_SHOWN]}…" if len(text) > _SHOWN else given


def literal(text: str) -> Any:
    """What a text in JSON says; a tuple may have round brackets.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(text.translate(str.maketrans("()'", '[]"')))
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
