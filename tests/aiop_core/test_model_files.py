"""Models in files: told by what they hold, and one clear line for those that hold none."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from aiop_core.contracts import Metric
from aiop_core.errors import GraphError, ModelError
from aiop_core.graph.files import save_graph
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.models.formats import Format, recognise
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache
from aiop_core.testing.reference import ReferenceFamily

READER = ModelReader(PluginRegistry([]))
FAMILY = ReferenceFamily()
GRAPHS = [FAMILY.graph(a, (64, 64)) for a in FAMILY.all()[:3]]


def field(number, payload):
    """A field of a protocol buffer: bytes with their length, or a number."""
    if isinstance(payload, int):
        return bytes([number << 3, payload])
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def archive(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, "{}")

    return write


def content(data):
    return lambda path: path.write_bytes(data)


ONNX = field(1, 8) + field(2, b"pytorch") + field(7, b"graph") + field(8, b"\x10\x11")
GRAPHDEF = field(1, b"node" * 50) + field(4, b"\x08\x01")
SAVED_MODEL = field(1, 1) + field(2, b"meta graph")
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(90)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (content(ONNX), Format.ONNX),
        (content(GRAPHDEF), Format.GRAPHDEF),
        (content(field(1, b"node")), Format.GRAPHDEF),
        (content(SAVED_MODEL), Format.SAVED_MODEL),
        (content(field(1, 4) + field(2, b"description") + field(500, b"network")), Format.COREML),
        (content(HDF5), Format.HDF5),
        (content(b"\x1c\x00\x00\x00TFL3" + bytes(20)), Format.TFLITE),
        (content(b"\x80\x02}q\x00."), Format.PICKLE),
        (content(b""), Format.EMPTY),
        (content(b'{"class_name": "Sequential"}'), Format.JSON),
        (content("für Menschen\n".encode()), Format.TEXT),
        (content(b"a" * 4095 + "ü".encode()), Format.TEXT),
        (content(ONNX[:-1]), Format.UNKNOWN),
        (content(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), Format.UNKNOWN),
        (content(b"PK\x03\x04 cut"), Format.DAMAGED),
        (archive("config.json", "metadata.json", "model.weights.h5"), Format.KERAS),
        (archive("net/data.pkl", "net/code/net.py"), Format.TORCHSCRIPT),
        (archive("net/archive_format", "net/data/weights/w.pt"), Format.EXPORTED),
        (archive("a.txt"), Format.ZIP),
        (lambda path: torch.save({"w": torch.zeros(2)}, path), Format.CHECKPOINT),
        (
            lambda path: torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=False),
            Format.PICKLE,
        ),
        (lambda path: save_file({"w": np.zeros(2)}, path), Format.TENSORS),
        (lambda path: save_graph(GRAPHS[0], path), Format.GRAPH),
        (content((2**60).to_bytes(8, "little") + b'{"a"'), Format.UNKNOWN),
        (content((8).to_bytes(8, "little") + b"{not json"), Format.UNKNOWN),
        (content(b"\x80\x02" + bytes(6) + b'{"__metadata__":{"format":"aiop-graph"}}'.ljust(0x280)), Format.GRAPH),
    ],
)
def test_contents_are_recognised(tmp_path: Path, write, expected: Format) -> None:
    path = tmp_path / "model"
    write(path)
    assert recognise(path) is expected


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x0a", b"\x08\x01", HDF5]))
def test_anything_is_recognised_or_not_but_never_an_error(tmp_path: Path, data: bytes, start: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(start + data)
    assert isinstance(recognise(path), Format)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "net.pb",
            SAVED_MODEL,
            "net.pb holds the description of a TensorFlow SavedModel; give the folder that it lies in",
        ),
        ("net.pb", HDF5, "net.pb holds an HDF5 file, as Keras wrote .h5; rename it to net.h5"),
        ("net.bin", HDF5, "rename it to net.h5"),
        ("net.onnx", GRAPHDEF, "net.onnx holds a frozen TensorFlow graph; rename it to net.pb"),
        ("net.onnx", b"", "net.onnx is empty; a model in a file is a .onnx file"),
        ("net.onnx", ONNX[:-1], "net.onnx is damaged, or not an ONNX model; make it again"),
        ("net.keras", b"PK\x03\x04 cut", "net.keras is damaged, or not a Keras archive"),
        ("net.xyz", b"\xff\xff\xff", "net.xyz is of an unknown format; a model in a file is"),
        ("net.onnx", b"some text", "net.onnx holds a text; a model in a file is"),
        ("net.json", b"{}", "net.json holds JSON; weights and operations are elsewhere; give the code"),
        (
            "net.pth",
            b"\x80\x02.",
            "net.pth holds a pickle; aiop opens no pickles but, by 'aiop cache import', .*; give the code",
        ),
        ("net.tflite", b"\x1c\x00\x00\x00TFL3", "give the Keras model or SavedModel that it was converted from"),
        ("net.py", b"x = 1", r"net.py is a program; name what makes the model in it: .*net.py:function"),
        ("net.onnx#3", ONNX, "net.onnx is an ONNX model and no graph cache; leave out '#3'"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name.partition("#")[0]).write_bytes(data)
    with pytest.raises(ModelError, match=message):
        READER.read(str(tmp_path / name))


def test_checkpoints_are_weights_without_architecture(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "net.pt")
    save_file({"w": np.zeros(2)}, tmp_path / "net.safetensors")
    for name in ("net.pt", "net.safetensors"):
        with pytest.raises(
            ModelError, match=r"an architecture is in code; give .* file.py:function, with --input-shape"
        ):
            READER.read(str(tmp_path / name))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.pt").write_bytes(f"\x80\x02cos\nsystem\n(X\x20\x00\x00\x00touch {mark}".encode("latin-1"))
    with pytest.raises(ModelError, match="aiop opens no pickles"):
        READER.read(str(tmp_path / "evil.pt"))
    assert not mark.exists()


def test_files_and_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file .*gone.onnx; a model in a file is"):
        READER.read(str(tmp_path / "gone.onnx"))
    with pytest.raises(ModelError, match=r"has no saved_model.pb; a model in a folder is a TensorFlow SavedModel"):
        READER.read(str(tmp_path))
    (tmp_path / "apple.mlpackage").mkdir()
    with pytest.raises(ModelError, match="is a Core ML package; give the model that it was converted from"):
        READER.read(str(tmp_path / "apple.mlpackage"))


def test_a_frozen_graph_in_a_saved_models_place(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(GRAPHDEF)
    with pytest.raises(ModelError, match="holds a frozen TensorFlow graph, not a SavedModel; give that file"):
        READER.read(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"some text")
    with pytest.raises(ModelError, match=r"saved_model.pb is damaged, or no SavedModel: it is a text"):
        READER.read(str(tmp_path))


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"net.onnx is no regular file; a model in a file is"):
        READER.read(str(tmp_path / "net.onnx"))


def test_input_hw_is_not_for_files(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(ONNX)
    with pytest.raises(ModelError, match=r"for '.*net.onnx' write --input-shape 3,64,32$"):
        replace(READER, input_hw=(64, 32)).read(str(tmp_path / "net.onnx"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(ONNX)

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match=r"net.onnx cannot be read: Permission denied"):
        READER.read(str(tmp_path / "net.onnx"))


def test_one_graph_of_a_cache(tmp_path: Path) -> None:
    specs = [a.spec for a in FAMILY.all()[:3]]
    path = tmp_path / "cache.safetensors"
    GraphCache.of(GraphSet.of(GRAPHS), [0.1, 0.2, 0.3], specs, ["reference"] * 3, Metric("m"), {}).save(path)
    named = READER.read(f"{path}#2")
    assert (named.name, named.graph) == (specs[2], GRAPHS[2])
    for spelling in (str(path), f"{path}#3"):
        with pytest.raises(ModelError, match=r"holds 3 graphs; name one as .*#0 to .*#2"):
            READER.read(spelling)


def test_a_graph_is_saved_by_a_command_and_read_as_a_model(aiop, tmp_path: Path) -> None:
    path = tmp_path / "wren.safetensors"
    done = aiop("graph", "save", "reference_zoo:wren", "-o", path)
    assert (done.code, done.out) == (0, f"{path}: reference_zoo:wren, 19 nodes\n")
    first, again = (json.loads(aiop("graph", "show", m, "--json").out) for m in ("reference_zoo:wren", path))
    assert first == again
    before = path.read_bytes()
    refused = aiop("graph", "save", "reference:d1-w4-k3", "-o", path)
    assert (refused.code, refused.err) == (1, f"Error: {path} exists; --force replaces it\n")
    assert path.read_bytes() == before
    assert aiop("graph", "save", "reference:d1-w4-k3", "-o", path, "--force").code == 0
    assert path.read_bytes() != before
    wrong = aiop("graph", "save", "reference_zoo:wren", "-o", tmp_path / "wren.graph")
    assert wrong.code == 1
    assert "must end with .safetensors" in wrong.err


def test_an_onnx_file_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), path, dynamo=False)
    assert READER.read(str(path)).graph.params.sum() == 112


def test_the_input_of_a_file_with_two_is_chosen_by_name(tmp_path: Path, aiop) -> None:
    path = tmp_path / "two inputs.onnx"
    image = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in ("image", "mask")]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Relu", ["image"], ["a"]), helper.make_node("Add", ["a", "mask"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "net", image, [out])), path)
    refused = aiop("graph", "show", str(path))
    assert refused.code == 1
    assert "has 2 inputs (image, mask); name the network's (--input-name)" in refused.err
    shown = aiop("graph", "show", str(path), "--input-name", "image", "--json")
    assert {o["op"] for o in json.loads(shown.out)["ops"]} == {"Input", "ReLU", "Output"}


@pytest.mark.data
def test_frozen_graphs_are_recognised(reference: Path) -> None:
    files = sorted((reference / "pb").glob("*/*.pb"))
    assert len(files) > 10
    assert {recognise(path) for path in files} == {Format.GRAPHDEF}


def test_a_damaged_graph_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(GRAPHS[0], path)
    data = path.read_bytes()
    path.write_bytes(data[:-8])
    with pytest.raises(GraphError, match=r"net.safetensors is damaged or no graph \(.*\); make it again"):
        READER.read(str(path))
