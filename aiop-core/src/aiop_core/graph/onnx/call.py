"""One ONNX node, as a rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from aiop_core.graph.recorder import Shape, Value

Contents = np.ndarray[Any, np.dtype[Any]]


class Call:
    """One ONNX node with what is known of its tensors.

    Attributes:
        name: such as ``Conv``; operations of other domains with theirs, ``domain::Name``.
        inputs: by position, ``None`` where one is left out.
        values: every tensor that it reads.
        contents: of small constants among ``inputs``.
        shapes: of every tensor that it gives, ``()`` for one left out.
    """

    def __init__(
        self,
        name: str,
        node: NodeProto,
        inputs: Sequence[Value | None],
        contents: Sequence[Contents | None],
        shapes: Sequence[Shape],
    ) -> None:
        self.name = name
        self.inputs, self.contents, self.shapes = list(inputs), list(contents), list(shapes)
        self.values = [v for v in inputs if v is not None]
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def input(self, index: int) -> Value | None:
        """An input by position, ``None`` if left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An input by position as a :class:`Value`, else the attribute of that name."""
        value = self.input(index)
        return self.attributes.get(name, default) if value is None else value

    def numbers(self, index: int, name: str, default: Sequence[Any] | None = None) -> list[Any] | None:
        """What older opsets have as an attribute and newer ones as an input; ``default`` if unknown."""
        if name in self.attributes:
            given = self.attributes[name]
            return list(given) if isinstance(given, list | tuple) else [given]
        known = self.contents[index] if index < len(self.contents) else None
        if known is None:
            return None if default is None else list(default)
        numbers: list[Any] = known.reshape(-1).tolist()
        return numbers

    @property
    def flowing(self) -> Value:
        """The first activation that it reads."""
        return next(v for v in self.values if v.flows)
