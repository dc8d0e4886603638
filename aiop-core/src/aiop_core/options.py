"""Options: frozen dataclasses that become command-line flags and keys of a config file.

One dataclass holds all knobs of a plugin, typed and documented::

    @dataclass(frozen=True)
    class Options:
        width: float = option(1.2, "width multiplier", choices=(1.0, 1.2))
        epochs: int = option(10, "passes over the training set", minimum=1)

Types are ``bool``, ``int``, ``float``, ``str``, ``Path``, each possibly ``| None``, and
``tuple[int, ...]`` and the like, written with commas on the command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiop_core.errors import OptionError

T = TypeVar("T")

_WORDS = {
    bool: ("true or false", "times true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}
"""The types that options may have, in words: one value, and several."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    source: str = "",
    runtime: bool = False,
) -> Any:
    """A dataclass field with what a user needs to know about it.

    Args:
        default: used when nothing is given.
        help: one line; units at its end where not obvious.
        choices: the allowed values.
        minimum: the smallest allowed number.
        maximum: the largest allowed number.
        source: where the default comes from, e.g. ``paper, appendix B``.
        runtime: it says how something is done and cannot change a result, such as a path
            or a number of workers; runs that differ in it share their labels.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "source": source,
        "runtime": runtime,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class OptionField:
    """One option of a plugin, as a command line or a config file sees it."""

    name: str
    type: Any
    optional: bool
    default: Any
    help: str
    choices: tuple[Any, ...] | None
    minimum: float | None
    maximum: float | None

    @property
    def flag(self) -> str:
        """The name as written on a command line: dashes for underscores."""
        return self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        inner, length = _items(self.type)
        if self.choices:
            return f"{'some' if inner else 'one'} of {', '.join(str(c) for c in self.choices)}"
        words = _WORDS[inner or self.type][bool(inner)]
        if inner:
            words = f"{length or 'any number of'} {words} separated by commas"
        bounds = [f"at least {self.minimum:g}"] if self.minimum is not None else []
        bounds += [f"at most {self.maximum:g}"] if self.maximum is not None else []
        return " ".join([words, *([" and ".join(bounds)] if bounds else [])])

    def parse(self, value: Any, label: str) -> Any:
        """``value``, a text or what a config file holds, as this option's type.

        Raises:
            OptionError: naming ``label``, the value and what is allowed.
        """
        if value is None or (self.optional and value == "none"):
            if self.optional:
                return None
            raise OptionError(f"{label} needs a value: {self.allowed}")
        try:
            parsed = _convert(value, self.type)
        except (ValueError, TypeError):
            raise OptionError(f"{label} is '{value}', allowed is {self.allowed}") from None
        parts = parsed if isinstance(parsed, tuple) else (parsed,)
        low, high = self.minimum, self.maximum
        if any(
            (self.choices and part not in self.choices)
            or (low is not None and part < low)
            or (high is not None and part > high)
            for part in parts
        ):
            raise OptionError(f"{label} is '{value}', allowed is {self.allowed}")
        return parsed


def _items(kind: Any) -> tuple[Any, int | None]:
    """The type of a tuple's items and how many there must be; nothing for what is no tuple."""
    if typing.get_origin(kind) is not tuple:
        return None, None
    inner = typing.get_args(kind)
    return inner[0], None if inner[-1] is Ellipsis else len(inner)


def _convert(value: Any, kind: Any) -> Any:
    inner, length = _items(kind)
    if inner:
        items = list(value) if not isinstance(value, str) else value.split(",") if value else []
        if length and len(items) != length:
            raise ValueError
        return tuple(_convert(item, inner) for item in items)
    if kind is bool:
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise ValueError
        return text in _TRUE
    if isinstance(value, bool):
        raise ValueError
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    converted = kind(value.strip() if isinstance(value, str) and kind is not str else value)
    if kind is float and not math.isfinite(converted):
        raise ValueError
    return converted


def option_fields(options: type) -> tuple[OptionField, ...]:
    """Every option of a dataclass, in its order.

    Raises:
        OptionError: if ``options`` is not a frozen dataclass, or a field has no default or
            a type that options cannot have.
    """
    frozen = getattr(getattr(options, "__dataclass_params__", None), "frozen", False)
    if not isinstance(options, type) or not dataclasses.is_dataclass(options) or not frozen:
        raise OptionError(f"options {options!r} must be a frozen dataclass")
    hints = typing.get_type_hints(options)
    found = []
    for field in dataclasses.fields(options):
        if field.default is dataclasses.MISSING:
            raise OptionError(f"option '{field.name}' of {options.__qualname__} needs a default")
        kind, optional = hints[field.name], False
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            rest = [k for k in typing.get_args(kind) if k is not type(None)]
            kind, optional = rest[0] if len(rest) == 1 else kind, len(rest) < len(typing.get_args(kind))
        if (_items(kind)[0] or kind) not in _WORDS:
            raise OptionError(
                f"option '{field.name}' of {options.__qualname__} has the type {field.type}; "
                f"allowed are {', '.join(k.__name__ for k in _WORDS)}, tuples of one of them, and each with '| None'"
            )
        meta = field.metadata
        found.append(
            OptionField(
                field.name,
                kind,
                optional,
                field.default,
                meta.get("help", "") + (f" ({meta['source']})" if meta.get("source") else ""),
                tuple(meta["choices"]) if meta.get("choices") else None,
                meta.get("minimum"),
                meta.get("maximum"),
            )
        )
    return tuple(found)


def build_options(options: type[T], values: Mapping[str, Any], *, prefix: str = "") -> T:
    """An instance of ``options`` from texts or config values, checked.

    Args:
        options: a frozen dataclass.
        values: by field name; dashes and underscores are the same.
        prefix: put before names in messages, e.g. ``task.``.

    Raises:
        OptionError: for an unknown name, with the nearest one, or a value out of range.
    """
    fields = {f.name: f for f in option_fields(options)}
    parsed = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in fields:
            raise OptionError(f"unknown option '{prefix}{key}'; {suggest(name, fields)}")
        parsed[name] = fields[name].parse(value, f"option '{prefix}{key}'")
    try:
        return options(**parsed)
    except ValueError as error:
        raise OptionError(f"{prefix or 'options: '}{error}") from None


def options_dict(options: Any, *, runtime: bool = True) -> dict[str, Any]:
    """An options instance as plain JSON values, by field name; without ``runtime`` ones if so asked."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    fields = (f for f in dataclasses.fields(options) if runtime or not f.metadata.get("runtime"))
    return {f.name: plain(getattr(options, f.name)) for f in fields}


SUGGESTED, SHOWN = 40, 5
"""With more names than the first, ``suggest`` lists those that are near, or else so many as the second."""


def suggest(name: str, known: Sequence[str] | Mapping[str, Any], *, show: Callable[[str], str] = str) -> str:
    """``did you mean 'x'?`` if something is near, and what is allowed."""
    names = sorted(known)
    if not names:
        return "there are none"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean '{show(near[0])}'? " if near else ""
    if near and len(names) > SUGGESTED:  # the rest would bury the hint
        others = f"; also near: {', '.join(show(n) for n in near[1:])}" if near[1:] else ""
        return f"{hint.rstrip()} ({len(names)} are allowed{others})"
    if len(names) > SUGGESTED:
        return f"{len(names)} are allowed, such as {', '.join(show(n) for n in names[:SHOWN])}"
    return f"{hint}allowed are: {', '.join(show(n) for n in names)}"
