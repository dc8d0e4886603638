"""Hostile and damaged pickles: one clear line each, at once, and nothing in them runs."""

import gzip
import os
import pickle
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.aiop_core.published import entry, small, written

from aiop_core.errors import AiopError, CacheError
from aiop_core.records.legacy import unpickler
from aiop_core.records.legacy.reading import LegacyImport, read_legacy_cache
from aiop_core.records.legacy.unpickler import read_pickle

START, N = b"\x80\x04", 2 * 10**5
DEEP = b"N" + b"\x85" * N
"""A tuple in a tuple, 200,000 times: to hash it overflows the stack of the process."""

DOUBLED = b"N" + b"".join(b"\x94h%ch%c\x86" % (i, i) for i in range(100))
"""Two of the one before, a hundred times over: to hash it takes 2 ** 100 steps."""


def text(word):
    return b"\x8c" + bytes([len(word)]) + word.encode()


def name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


NODE = name("model_src.comp_graph.tf_comp_graph", "RegularNode")
RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little")


def dtype(code):
    return name("numpy", "dtype") + text(code) + b"\x89\x88\x87R"


def array(shape, code, data):
    """A numpy array whose state has this shape, type and data."""
    return START + RECONSTRUCT + b"(K\x01" + shape + dtype(code) + b"\x89" + data + b"tb."


class Malicious:
    """Runs a command when it is loaded as pickle."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


REFUSED = {
    "system": (pickle.dumps(Malicious(os.system, "touch ran")), r"asks for (posix|nt)\.system, which is refused"),
    "system, old opcodes": (b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch ran\x85R.", r"asks for posix\.system"),
    "eval": (pickle.dumps([Malicious(eval, "open('ran', 'w')")]), r"asks for builtins\.eval, which is refused"),
    "getattr": (pickle.dumps(Malicious(getattr, "", "join")), r"asks for builtins\.getattr"),
    "dotted": (START + name("numpy", "ndarray.tofile") + b".", r"asks for numpy\.ndarray\.tofile"),
    "escapes": (START + name("\x1b[2J\n", "x") + b".", r"asks for \?\[2J\?\.x, which is refused"),
    "persistent": (START + b"K\x01Q.", "holds the opcode BINPERSID; the published format has no such thing"),
    "extension": (START + b"\x82\x01.", "holds the opcode EXT1"),
    "instance": (START + b"(iposix\nsystem\n.", "holds the opcode INST"),
    "call of a text": (START + text("x") + b")R.", "it calls x, which is refused"),
    "call of a class": (START + NODE + b")R.", "it calls type, which is refused"),
    "new text": (START + text("x") + b")\x81.", "it makes a x in a way that is refused"),
    "new with arguments": (START + NODE + b"K\x01\x85\x81.", "it makes a type in a way that is refused"),
    "state of a class": (START + NODE + b"}b.", "it gives a type a state that is refused"),
    "state of a list": (START + b"]}b.", "it gives a list a state that is refused"),
    "state no dictionary": (START + NODE + b")\x81K\x01b.", "it gives a LegacyNode a state that is refused"),
    "deep key": (START + b"}" + DEEP + b"Ns.", "holds a dictionary with a key that is no text"),
    "deep keys": (START + b"}(" + DEEP + b"Nu.", "holds a dictionary with a key that is no text"),
    "doubled key": (START + b"}" + DOUBLED + b"Ns.", "holds a dictionary with a key that is no text"),
    "objects": (pickle.dumps(np.array([None, {}], dtype=object)), "holds a numpy array of type O8; numbers, bools"),
    "structure": (pickle.dumps(np.zeros(2, "i4,f8")), "holds a numpy array of type V12"),
    "dtype of a number": (START + name("numpy", "dtype") + b"K\x01\x85R.", "holds a numpy array of type int"),
    "huge array": (array(number(2**40) + b"\x85", "f8", b"C\x00"), r"of shape \(1099511627776\) with 0 bytes"),
    "wrong array": (array(b"K\x02K\x02\x86", "f8", b"C\x08" + bytes(8)), r"of shape \(2, 2\) with 8 bytes; these"),
    "negative array": (array(b"J\xff\xff\xff\xff\x85", "f8", b"C\x00"), r"of shape \(-1\) with 0 bytes"),
    "array of texts": (array(b"K\x01\x85", "f8", b"]"), "it holds a damaged numpy array"),
    "scalar": (START + name("numpy._core.multiarray", "scalar") + b"K\x01C\x01x\x86R.", "holds a damaged numpy array"),
}


def declared(opcode, size, packing):
    return START + opcode + struct.pack(packing, size) + b"N."


HARMLESS = {
    "deep": START + DEEP + b".",
    "deep lists": START + b"]" * N + b"a" * (N - 1) + b".",
    "unfinished": START + b"(" * N,
    "many dictionaries": START + b"}" * N,
    "many references": START + b"N" + b"\x94" * N + b".",
    "doubled": START + DOUBLED + b".",
    "far reference": declared(b"Nr", 2**32 - 1, "<I"),
    "nothing at the reference": START + b"h\x07.",
    "frame": declared(b"\x95", 2**40, "<Q"),
    "largest frame": declared(b"\x95", 2**64 - 1, "<Q"),
    "short frame": declared(b"\x95", 1, "<Q"),
    **{
        name: declared(opcode, size, packing)
        for name, opcode, size, packing in [
            ("BINBYTES", b"B", 2**32 - 1, "<I"),
            ("BINBYTES8", b"\x8e", 2**40, "<Q"),
            ("BINBYTES8, largest", b"\x8e", 2**64 - 1, "<Q"),
            ("BINUNICODE", b"X", 2**32 - 1, "<I"),
            ("BINUNICODE8", b"\x8d", 2**40, "<Q"),
            ("BYTEARRAY8", b"\x96", 2**40, "<Q"),
            ("LONG4", b"\x8b", 2**31 - 1, "<i"),
            ("LONG1", b"\x8a", 255, "<B"),
            ("BINSTRING", b"T", 2**31 - 1, "<i"),
        ]
    },
    "no opcode": START + b"\xff.",
    "wrong text": START + b"\x8c\x02\xff\xff.",
    "list into a text": START + text("x") + b"Na.",
    "item of a list": START + b"]" + text("x") + b"Ns.",
    "half a dictionary": START + b"}(" + text("x") + b"u.",
    "nothing to pop": START + b"0.",
    "unhashable name": START + b"]]\x93.",
    "protocol 9": b"\x80\x09N.",
}


def refusal(path, data):
    """The error of reading ``data``, which must come at once and take little memory."""
    path.write_bytes(data)
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(CacheError) as caught:
            read_legacy_cache(path, LegacyImport(), {}, print)
        seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20 + 120 * len(data)
    assert seconds < 1 + len(data) / 2**18  # tracing makes it some five times slower
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_data_is_refused_by_name(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, expected = REFUSED[case]
    message = refusal(tmp_path / "x.pkl", data)
    assert "x.pkl is not read: it" in message
    with pytest.raises(CacheError, match=expected):
        read_pickle(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


def test_the_hostile_pickles_are_hostile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(REFUSED["eval"][0])
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_no_cache_is_one_line(case, tmp_path):
    message = refusal(tmp_path / "x.pkl", HARMLESS[case])
    assert any(words in message for words in ("damaged pickle", "no list of entries", "no such thing", "no pickle of"))


def test_a_million_levels(tmp_path):
    path = tmp_path / "x.pkl"
    for data in (b"}N" + b"\x85" * 10**6 + b"Ns.", b"]" * 10**6 + b"a" * (10**6 - 1) + b"."):
        path.write_bytes(START + data)
        begun = time.process_time()
        with pytest.raises(CacheError):
            read_legacy_cache(path, LegacyImport(), {}, str)
        assert time.process_time() - begun < 5  # about 0.5 s on an idle machine


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.pkl").write_bytes(START)
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(CacheError, match=r"x\.pkl cannot be read: Permission denied"):
        read_pickle(tmp_path / "x.pkl")


def test_a_class_with_setstate_of_its_own(tmp_path):
    message = refusal(tmp_path / "x.pkl", pickle.dumps(np.random.default_rng(0)))
    assert "asks for numpy.random" in message


@pytest.mark.parametrize("data", [b"", b"a text\n" * 9, b"{}", b"\x80", b"\x93NUMPY", b"(lp0\n."])
def test_files_that_are_no_pickles(data, tmp_path):
    assert "is no pickle of protocol 2 to 5; give a gpi_*_comp_graph_cache.pkl" in refusal(tmp_path / "x.pkl", data)


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "missing.pkl"):
        with pytest.raises(CacheError, match=r"there is no file .*; give a gpi_"):
            read_pickle(path)


def test_every_truncation_is_said(tmp_path):
    whole = written([entry()])
    for end in range(2, len(whole), 7):
        assert "damaged pickle" in refusal(tmp_path / "x.pkl", whole[:end])


def test_gzip(tmp_path):
    whole = gzip.compress(written([entry()]))
    path = tmp_path / "x.pkl.gz"
    path.write_bytes(whole)
    assert len(read_pickle(path)[0]) == 1
    assert "is a gzip file that is cut short" in refusal(path, whole[:-9])
    assert "is a damaged gzip file" in refusal(path, whole[:20] + b"\0\0\0\0" + whole[24:])


def test_gzip_bombs_are_not_unpacked(tmp_path):
    path, bomb = tmp_path / "x.pkl.gz", gzip.compress(START + b"}" * 2**27)
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(CacheError, match=r"unpacks to more than [\d,]+ bytes, 50 times its size: it is not read"):
        read_pickle(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_too_large_files_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickler, "MAX_BYTES", 100)
    assert "has 102 bytes; at most 100 are read" in refusal(tmp_path / "x.pkl", START + bytes(100))


def test_plain_data_and_arrays_come_as_they_are(tmp_path):
    arrays = [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.eye(3)),
        np.zeros((0, 4)),
        np.array(["ab", "c"]),
    ]
    plain = {"a": [1, -2, 2**70, 0.5, None, True, (), ("x", "ü" * 300)], "b": b"bytes"}
    for protocol in (3, 4, 5):
        path = tmp_path / "x.pkl"
        path.write_bytes(pickle.dumps([plain, np.float64(0.5), np.bool_(True)], protocol))
        assert read_pickle(path)[0] == [plain, 0.5, True]
        if protocol < 5:  # protocol 5 has another spelling, which the research code cannot write
            path.write_bytes(pickle.dumps(arrays, protocol))
            for found, expected in zip(read_pickle(path)[0], arrays, strict=True):
                assert found.values.dtype == expected.dtype
                np.testing.assert_array_equal(found.values, expected)


VALID = written(
    [
        entry(),
        entry(acc=np.float64(0.5), **{"original config": (["a"], np.eye(2, dtype=int)), "metric_map": "val_PCK->acc"}),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(2, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_random_damage_is_our_error_or_none(tmp_path_factory, changes):
    data = bytearray(VALID)
    for position, value in changes:
        data[position] = value
    path = tmp_path_factory.mktemp("damage") / "x.pkl"
    path.write_bytes(data)
    message = ""
    try:
        read_legacy_cache(path, LegacyImport(), {}, str).save(path)
    except AiopError as error:
        message = str(error)
    assert message.isprintable()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_opcodes_are_our_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "x.pkl"
    path.write_bytes(START + data)
    with pytest.raises(CacheError):
        read_legacy_cache(path, LegacyImport(), {}, str)


def test_references_cannot_make_a_small_file_large(tmp_path):
    graph = small(edges=[(0, 1)] * 3000)
    message = refusal(tmp_path / "x.pkl", written([entry(**{"compute graph": graph}) for _ in range(1000)]))
    assert "describes more nodes, edges and values than its size explains" in message
