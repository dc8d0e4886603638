"""Reads the research code's pickles without running anything that is written in them.

A pickle is a program. This reader knows the few opcodes that build plain data, and builds
nothing else but inert stand-ins for the research code's three graph classes and for numpy's
arrays of plain numbers. Any other class, function or opcode is refused by its name.

It is Python's own reader in Python, not the one in C: that one sets memory aside for sizes
that a file merely declares, before it looks whether so many bytes are there.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from aiop_core.errors import CacheError

MAX_BYTES = 512 * 2**20
"""The largest pickle that is read, unpacked; about 15,000 graphs.

Its objects take ten times as much memory, those of a malicious one up to ninety times.
"""

MAX_RATIO = 50
"""How many times its size a gzip file may unpack to; the published format reaches 10."""

_FREE_BYTES = 2**20
"""Unpacking to this much is never a reason to refuse."""


# --- What a pickle may build --------------------------------------------------------


@dataclass
class LegacyNode:
    """A node as published: ``RegularNode``, and ``WeightedNode``, which alone has a ``shape``."""

    op_type_idx: Any = None
    label: Any = None
    resolution: Any = None
    strides: Any = None
    metadata: Any = None
    shape: Any = None


@dataclass
class LegacyGraph:
    """A ``ComputeGraph`` as published; edges number the weighted nodes first."""

    name: Any = None
    weighted_nodes: Any = None
    regular_nodes: Any = None
    edge_pairs: Any = None


@dataclass
class LegacyArray:
    """A numpy array of plain numbers or texts; ``values`` is there once its state was read."""

    values: np.ndarray[Any, Any] | None = None


@dataclass
class _Dtype:
    code: str
    order: Literal["<", ">", "=", "|"] = "|"


_DTYPES = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,3}")
"""Plain numbers and short texts; no objects, no structures."""

_ORDERS = ("<", ">", "=", "|")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or not _DTYPES.fullmatch(code):
        raise CacheError(f"it holds a numpy array of type {_short(code)}; numbers, bools and texts are allowed")
    return _Dtype(code)


def _reconstruct(*_: Any) -> LegacyArray:
    """What numpy calls before the state: the shape that is given here is a dummy."""
    return LegacyArray()


def _scalar(dtype: Any, data: Any) -> Any:
    return _values(dtype, (), data).item()


def _values(dtype: Any, shape: Any, data: Any) -> np.ndarray[Any, Any]:
    """An array of exactly the bytes that are there."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not isinstance(data, bytes):
        raise CacheError("it holds a damaged numpy array")
    kind = np.dtype(dtype.code).newbyteorder(dtype.order)
    sizes = [size if type(size) is int and 0 <= size < 2**31 else -1 for size in shape]
    if len(sizes) > 8 or -1 in sizes or math.prod(sizes) * kind.itemsize != len(data):
        raise CacheError(f"it holds a numpy array of shape {_short(shape)} with {len(data)} bytes; these do not agree")
    return np.frombuffer(data, dtype=kind).reshape(sizes) if data else np.zeros(sizes, kind)


_GRAPHS = "model_src.comp_graph.tf_comp_graph"
_CLASSES = {
    (_GRAPHS, "ComputeGraph"): LegacyGraph,
    (_GRAPHS, "RegularNode"): LegacyNode,
    (_GRAPHS, "WeightedNode"): LegacyNode,
}
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}
_ALLOWED: dict[tuple[str, str], Any] = {**_CLASSES, **_FUNCTIONS, ("numpy", "ndarray"): "numpy.ndarray"}
"""Every name that a pickle may give, and what stands for it. An array's class is a mere word to ``_reconstruct``."""


# --- The reader ---------------------------------------------------------------------

_OPCODES = """PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1
TUPLE2 TUPLE3 EMPTY_DICT BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL""".split()
"""Opcodes that make plain data, or name what ``find_class`` looks at; the others are below, or refused."""

Step = Callable[["_Reader"], None]
_STEPS: dict[int, Any] = pickle._Unpickler.dispatch


class _Dispatch(dict[int, Step]):
    """Steps by opcode; any that is not there is refused by its name."""

    def __missing__(self, code: int) -> Step:
        names = [opcode.name for opcode in pickletools.opcodes if ord(opcode.code) == code]
        what = f"the opcode {names[0]}" if names else f"the byte {code}, which is no opcode"
        raise CacheError(f"it holds {what}; the published format has no such thing")


class _Reader(pickle._Unpickler):
    """One reading of one pickle."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of an allowed name."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise CacheError(
                f"it asks for {_short(f'{module}.{name}')}, which is refused; "
                "allowed are the research code's three graph classes and numpy's plain arrays"
            ) from None

    def reduce(self) -> None:
        """Call one of our stand-ins of numpy's functions."""
        arguments, function = self.stack.pop(), self.stack[-1]
        if not any(function is allowed for allowed in _FUNCTIONS.values()) or not isinstance(arguments, tuple):
            raise CacheError(f"it calls {_short(function)}, which is refused")
        self.stack[-1] = function(*arguments)

    def new(self) -> None:
        """An empty stand-in of a graph class."""
        arguments, made = self.stack.pop(), self.stack.pop()
        if not any(made is allowed for allowed in _CLASSES.values()) or arguments != ():
            raise CacheError(f"it makes a {_short(made)} in a way that is refused")
        self.stack.append(made())

    def build(self) -> None:
        """Give a stand-in its state; of a graph or node only the fields that we know."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, LegacyGraph | LegacyNode) and isinstance(state, dict):
            vars(made).update((name, value) for name, value in state.items() if name in vars(made))
        elif isinstance(made, LegacyArray) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, by_column, data = state
            values = _values(dtype, shape[::-1] if by_column else shape, data)
            made.values = values.T if by_column else values
        elif isinstance(made, _Dtype) and isinstance(state, tuple) and len(state) > 1 and state[1] in _ORDERS:
            made.order = state[1]
        else:
            raise CacheError(f"it gives a {type(made).__name__} a state that is refused")

    def set_items(self) -> None:
        """Fill a dictionary; its keys must be texts, since hashing nested or chosen values can take for ever."""
        if any(type(key) is not str for key in self.stack[::2]):
            raise CacheError("it holds a dictionary with a key that is no text")
        _STEPS[pickle.SETITEMS[0]](self)

    def set_item(self) -> None:
        """Set one item of a dictionary."""
        if type(self.stack[-2]) is not str:
            raise CacheError("it holds a dictionary with a key that is no text")
        _STEPS[pickle.SETITEM[0]](self)

    dispatch: ClassVar[Any] = _Dispatch(
        {getattr(pickle, name)[0]: _STEPS[getattr(pickle, name)[0]] for name in _OPCODES}
        | {
            pickle.REDUCE[0]: reduce,
            pickle.NEWOBJ[0]: new,
            pickle.BUILD[0]: build,
            pickle.SETITEM[0]: set_item,
            pickle.SETITEMS[0]: set_items,
        }
    )


_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    AssertionError,
    struct.error,
)
"""What Python's reader raises on a file that is cut short or makes no sense."""


def read_pickle(path: Path) -> tuple[Any, int]:
    """What a pickle holds, as plain data and stand-ins, and how many bytes it took to say it.

    Raises:
        CacheError: if the file is missing, no pickle, damaged, too large, or holds anything
            that is not allowed, naming it.
    """
    data = _unpacked(path)
    if len(data) < 2 or data[:1] != pickle.PROTO or not 2 <= data[1] <= 5:
        raise CacheError(f"{path} is no pickle of protocol 2 to 5; give a gpi_*_comp_graph_cache.pkl")
    try:
        return _Reader(io.BytesIO(data)).load(), len(data)
    except CacheError as error:
        raise CacheError(f"{path} is not read: {error}") from None
    except _DAMAGE as error:
        raise CacheError(
            f"{path} is a damaged pickle ({_short(error) or 'it is cut short'}); download it again"
        ) from error


def _unpacked(path: Path) -> bytes:
    """The file's bytes, out of gzip if they are in it, within limits."""
    try:
        size = path.stat().st_size if path.is_file() else -1
        if size < 0:
            raise CacheError(f"there is no file {path}; give a gpi_*_comp_graph_cache.pkl, or a .pkl.gz")
        if size > MAX_BYTES:
            raise CacheError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read: split it where it was made")
        data = path.read_bytes()
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {error.strerror}") from error
    if data[:2] != b"\x1f\x8b":
        return data
    limit = min(MAX_BYTES, max(_FREE_BYTES, MAX_RATIO * size))
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(data, limit)
    except zlib.error as error:
        raise CacheError(f"{path} is a damaged gzip file ({error}); download it again") from error
    if unpacker.unconsumed_tail:
        raise CacheError(f"{path} unpacks to more than {limit:,} bytes, {limit // size} times its size: it is not read")
    if not unpacker.eof:
        raise CacheError(f"{path} is a gzip file that is cut short; download it again")
    return data


def _short(value: object) -> str:
    """A few characters of any value on one line, whatever it holds."""
    text = str(value) if isinstance(value, Exception | str) else type(value).__name__
    if isinstance(value, tuple):
        text = f"({', '.join(str(item)[:20] if type(item) is int else type(item).__name__ for item in value[:8])})"
    return "".join(c if c.isprintable() else "?" for c in text[:120])
