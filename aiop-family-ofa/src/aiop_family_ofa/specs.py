"""Reading specs: what all three spaces share. Nothing is ever evaluated."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiop_core.errors import SpecError

A = TypeVar("A")
T = TypeVar("T")

MAX_LENGTH = 4096
"""Characters; the longest configuration of a space has under 1,000."""

_SHOWN = 60


def parse(
    text: str,
    *,
    family: str,
    example: str,
    canonical: Callable[[str], A],
    config: Callable[[Any], A],
) -> A:
    """The architecture that ``text`` describes.

    Args:
        text: canonical text, or a configuration as JSON or as a Python literal.
        family: named in messages.
        example: shown in messages.
        canonical: reads canonical text.
        config: reads a configuration; both raise ValueError that says what is allowed.

    Raises:
        SpecError: in one line: what is wrong, what was given, what is allowed, an example.
    """
    text = text.strip()
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the text has {len(text)} characters, allowed are {MAX_LENGTH}")
        return config(_literal(text)) if text[:1] in {"[", "(", "{"} else canonical(text)
    except ValueError as problem:
        given = " ".join(text[: _SHOWN + 1].split())
        given = f"{given[:_SHOWN]}…" if len(text) > _SHOWN else given
        raise SpecError(f"'{given}' is not a spec of {family}: {problem}; an example: {example}") from None


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ValueError("it is neither JSON nor a Python literal") from None


def choice(value: Any, allowed: Sequence[T], what: str) -> T:
    """The entry of ``allowed`` that equals ``value``; so 1.0, 1 and ``True`` become one.

    Raises:
        ValueError: if there is none.
    """
    if value not in allowed:
        raise ValueError(f"{what} is {_short(value)}, allowed are {', '.join(map(str, allowed))}")
    return allowed[allowed.index(value)]


def entries(value: Any, counts: Sequence[int], what: str) -> Sequence[Any]:
    """``value`` as a list of an allowed length; an empty ``counts`` allows any.

    Raises:
        ValueError: if it is no list, or of another length.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(f"{what} is {_short(value)}, expected a list")
    if counts and len(value) not in counts:
        raise ValueError(f"{what} has {len(value)} entries, allowed are {' or '.join(map(str, counts))}")
    return value


def keys(config: dict[Any, Any], needed: Sequence[str], ignored: Sequence[str] = ()) -> list[Any]:
    """The values of ``needed``, in that order.

    Raises:
        ValueError: if one is missing, or there is a key that is in neither list.
    """
    unknown = [key for key in config if key not in (*needed, *ignored)]
    if unknown or any(key not in config for key in needed):
        raise ValueError(f"its keys are {_short(list(config))}, expected {', '.join(needed)}")
    return [config[key] for key in needed]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
