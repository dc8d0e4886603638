"""The published formats, written as their own libraries write them, and read back."""

import base64
import bz2
import csv
import json
import pickle
import struct
import sys
from collections import OrderedDict

import google_crc32c
import numpy as np
import pytest
import torch
from nats_bench.api_topology import NATStopology
from nats_bench.api_utils import ArchResults, ResultsCount, pickle_save

from aiop_core.contracts import silent
from aiop_core.errors import DataError
from aiop_core.plugins import installed_sources
from aiop_family_nasbench.labels import nats_file, nb101_file

CELL = [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
OPS = ["input", "conv3x3-bn-relu", "output"]


# --- NAS-Bench-101 ------------------------------------------------------------------


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def evaluation(epoch, seconds, train, val, test):
    """A message with five doubles and a text, which stands in the published files, too."""
    values = enumerate((epoch, seconds, train, val, test), 1)
    doubles = b"".join(bytes([number << 3 | 1]) + struct.pack("<d", value) for number, value in values)
    return doubles + bytes([6 << 3 | 2]) + varint(4) + b"path"


def metrics(evaluations, params):
    found = b"".join(bytes([1 << 3 | 2]) + varint(len(e)) + e for e in evaluations)
    return found + bytes([2 << 3]) + varint(params) + bytes([3 << 3 | 1]) + struct.pack("<d", 1.5)


def record(name, val, *, epochs=108, cell=CELL, ops=OPS, seconds=100.0):
    digits = "".join(str(d) for row in cell for d in row)
    start, half = evaluation(0, 0, 0.1, 0.1, 0.1), evaluation(epochs / 2, 50, 0.7, 0.6, 0.5)
    curve = [start, half, evaluation(epochs, seconds, 1, val, 0.9)]
    encoded = base64.b64encode(metrics(curve, 8_555_530)).decode()
    return json.dumps([name, epochs, digits, ",".join(ops), encoded]).encode()


def framed(data):
    def checksum(part):
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


@pytest.fixture
def tfrecord(tmp_path):
    path = tmp_path / "nasbench_only108.tfrecord"
    one, other, again = record("a", 0.90), record("b", 0.5, ops=["input", "maxpool3x3", "output"]), record("a", 0.94)
    path.write_bytes(framed(one) + framed(other) + framed(again))
    return path


def test_the_file_is_one_that_tensorboard_reads(tfrecord):
    stub = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    reader = stub.PyRecordReader_New(str(tfrecord))
    read = []
    for _ in range(3):
        reader.GetNext()
        read.append(reader.record())
    assert read[::2] == [record("a", 0.90), record("a", 0.94)]


def test_nasbench_101(tfrecord, family):
    columns = nb101_file.read(tfrecord, silent).columns()
    assert columns["val_acc_108ep"] == [pytest.approx(0.92), 0.5]
    assert columns["test_acc_108ep"] == [pytest.approx(0.9)] * 2
    assert columns["training_time_s_108ep"] == [100, 100]
    assert columns["params"] == [8_555_530] * 2
    assert json.loads(columns["adjacency"][0]) == CELL
    nb101 = family("nb101")
    cell = nb101.parse(json.dumps({"adjacency": CELL, "ops": OPS}))
    assert cell.spec == "3:0_o:01"
    assert nb101.parse(json.dumps({name: columns[name][0] for name in nb101_file.SPEC_COLUMNS})) == cell


def test_lengths_of_training_are_columns(tmp_path):
    path = tmp_path / "nasbench_full.tfrecord"
    path.write_bytes(framed(record("a", 0.3, epochs=4)) + framed(record("b", 0.9)))
    columns = nb101_file.read(path, silent).columns()
    assert (columns["val_acc_4ep"], columns["val_acc_108ep"]) == ([0.3, None], [None, 0.9])


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


BROKEN = [
    (lambda data: flip(data, 3), "byte 0: the checksum of a record's length is wrong; is this a TFRecord file"),
    (lambda data: flip(data, 40), "byte 0: a record's checksum is wrong; download the file again"),
    (lambda data: data[:-2], "byte [1-9][0-9]*: the file is cut short; download it again"),
    (lambda data: data[:7], "byte 0: the file is cut short; download it again"),
    (lambda _: framed(b"[1, 2]"), "holds a record that is none of NAS-Bench-101"),
    (lambda _: framed(b'["a", 108, "011001000", "input,output", ""]'), "the numbers of its entries do not agree"),
    (lambda _: framed(b'["a", 108, "0110", "input,output", "!"]'), "holds a record that is none of NAS-Bench-101"),
    (lambda _: b"", "has no records; download it again"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=range(len(BROKEN)))
def test_damaged_records(tfrecord, change, message):
    tfrecord.write_bytes(change(tfrecord.read_bytes()))
    with pytest.raises(DataError, match=message):
        nb101_file.read(tfrecord, silent)


def test_no_records(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: No such file or directory; give a \.tfrecord file"):
        nb101_file.read(tmp_path / "none.tfrecord", silent)


# --- NATS-Bench and NAS-Bench-201 ---------------------------------------------------

ARCHS = [
    "|none~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
    "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|",
]
SETS = {
    "cifar10-valid": ["x-valid", "ori-test"],
    "cifar10": ["ori-test"],
    "cifar100": ["ori-test", "x-valid", "x-test"],
    "ImageNet16-120": ["ori-test", "x-valid", "x-test"],
}


def trained(index, epochs):
    """Results as the benchmark's library keeps them; the accuracy tells architecture, set, seed and epoch."""
    results = ArchResults(index, ARCHS[index])
    for number, (dataset, names) in enumerate(SETS.items()):
        for seed in (777, 888):
            curve = {e: float(e + number) for e in range(epochs)}
            config = {"arch_str": ARCHS[index]}
            result = ResultsCount(dataset, None, curve, curve, 0.3, 15.6, config, seed, epochs, None)
            base = 10.0 * index + seed / 1000
            accuracies = {f"{n}@{e}": base + i + e / 10 for i, n in enumerate(names) for e in range(epochs)}
            result.update_eval(accuracies, accuracies, accuracies)
            results.update(dataset, seed, result)
    return results.state_dict()


def benchmark(keys=("12", "200")):
    lengths = dict(zip(keys, (2, 3), strict=True))
    infos = OrderedDict((i, {key: trained(i, n) for key, n in lengths.items()}) for i in range(len(ARCHS)))
    return {"meta_archs": ARCHS, "arch2infos": infos, "evaluated_indexes": {0, 1}}


@pytest.fixture
def folder(tmp_path):
    """``NATS-tss-v1_0-3ffb9-simple``."""
    path, content = tmp_path / "NATS-tss-simple", benchmark()
    path.mkdir()
    pickle_save({**content, "arch2infos": {}}, path / "meta.pickle")
    for index, results in content["arch2infos"].items():
        pickle_save(results, path / f"{index:06d}.pickle")
    return path


def files(tmp_path, folder):
    whole = tmp_path / "NATS-tss.pickle.pbz2"
    pickle_save(benchmark(), tmp_path / "NATS-tss.pickle")
    content = benchmark(("less", "full"))
    content["evaluated_indexes"] = [0, 1]
    for name, zipped in (("new.pth", True), ("old.pth", False)):
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    return [folder, whole, tmp_path / "new.pth", tmp_path / "old.pth"]


def test_every_form_gives_what_the_benchmarks_library_says(tmp_path, folder, family):
    library = NATStopology(str(folder), fast_mode=True, verbose=False)
    for path in files(tmp_path, folder):
        table = nats_file.read(path, silent)
        columns = table.columns()
        assert columns["arch_str"] == ARCHS
        for index in (0, 1):
            for column, key, dataset, name in (
                ("cifar10_test_3ep", "200", "cifar10", "ori-test"),
                ("cifar10_valid_val_3ep", "200", "cifar10-valid", "x-valid"),
                ("cifar100_test_2ep", "12", "cifar100", "x-test"),
                ("cifar100_valtest_3ep", "200", "cifar100", "ori-test"),
                ("imagenet16_120_val_3ep", "200", "ImageNet16-120", "x-valid"),
            ):
                said = library.query_meta_info_by_index(index, key).get_metrics(dataset, name)["accuracy"]
                assert columns[column][index] == pytest.approx(said), column
    assert [family("nb201").parse(text).spec for text in ARCHS] == ["0_01_000", "s_00_000"]


def test_numbers_of_numpy_are_numbers(tmp_path):
    content = benchmark()
    curve = content["arch2infos"][0]["12"]["all_results"]["cifar10", 777]["eval_acc1es"]
    curve["ori-test@1"] = np.float64(50)
    content["arch2infos"][0]["12"]["all_results"]["cifar10", 888]["eval_acc1es"]["ori-test@1"] = np.float32(52)
    pickle_save(content, tmp_path / "whole.pickle")
    torch.save({**content, "evaluated_indexes": [0]}, tmp_path / "whole.pth")
    for name in ("whole.pickle.pbz2", "whole.pth"):
        assert nats_file.read(tmp_path / name, silent).columns()["cifar10_test_2ep"][0] == 51


class BigEndian:
    def __reduce__(self):
        return np.float64().__reduce__()[0], (np.dtype(">f8"), struct.pack(">d", 50))


def test_the_order_of_bytes_is_kept(tmp_path):
    content = benchmark()
    for seed in (777, 888):
        content["arch2infos"][0]["12"]["all_results"]["cifar10", seed]["eval_acc1es"]["ori-test@1"] = BigEndian()
    pickle_save(content, tmp_path / "whole.pickle")
    assert nats_file.read(tmp_path / "whole.pickle.pbz2", silent).columns()["cifar10_test_2ep"][0] == 50


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("suffix", [".pickle.pbz2", ".pth"])
def test_nothing_in_a_file_is_run(tmp_path, capsys, suffix):
    path = tmp_path / f"evil{suffix}"
    if suffix == ".pth":
        torch.save({"meta_archs": [Evil()]}, path)
    else:
        path.write_bytes(bz2.compress(pickle.dumps({"meta_archs": [Evil()]})))
    with pytest.raises(DataError, match=r"evil\S+ is not read: .*print"):
        nats_file.read(path, silent)
    assert not capsys.readouterr().out


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "odd.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(np.dtype("O"))))
    with pytest.raises(DataError, match="it holds a numpy array of other things than numbers"):
        nats_file.read(path, silent)


class Damaged:
    def __reduce__(self):
        return np.float64().__reduce__()[0], (np.dtype("f8"), "no bytes")


def test_damaged_numbers_are_refused(tmp_path):
    path = tmp_path / "odd.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(Damaged())))
    with pytest.raises(DataError, match="is not read: it holds a damaged number"):
        nats_file.read(path, silent)


SHORT = {"epochs": 3, "train_acc1es": [1.0], "eval_names": [], "eval_acc1es": {}}

WRONG = [
    ({}, "has no list 'meta_archs'; give a file of NATS-Bench"),
    ({"meta_archs": ["64:64:64"], "arch2infos": {}}, "is the size search space"),
    ({"meta_archs": ARCHS}, "has no dictionary 'arch2infos'; for a folder's meta file, give the folder"),
    ({"meta_archs": ARCHS, "arch2infos": {}}, "holds no evaluated architectures"),
    ({"meta_archs": ARCHS, "arch2infos": {7: {}}}, "has results of architecture 7, but lists 2 architectures"),
    ({"meta_archs": ARCHS, "arch2infos": {0: {"12": {}}}}, "architecture 0 has no results as in NATS-Bench"),
    (
        {"meta_archs": ARCHS, "arch2infos": {0: {"12": {"all_results": {("cifar10", 777): SHORT}}}}},
        r"architecture 0 has no results as in NATS-Bench \(IndexError",
    ),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=range(len(WRONG)))
def test_other_contents(tmp_path, content, message):
    path = tmp_path / "other.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(content)))
    with pytest.raises(DataError, match=message):
        nats_file.read(path, silent)


def test_missing_and_damaged_files(tmp_path, folder):
    for name, message in (("a.pickle.pbz2", "give NATS-Bench's folder or file"), ("a.pth", "give a NAS-Bench-201")):
        with pytest.raises(DataError, match=rf"there is no file .*{name}; {message}"):
            nats_file.read(tmp_path / name, silent)
    (tmp_path / "b.pth").write_bytes(b"none")
    with pytest.raises(DataError, match=r"b\.pth is not read: .*; is it a NAS-Bench-201"):
        nats_file.read(tmp_path / "b.pth", silent)
    (folder / "000001.pickle.pbz2").rename(folder / "000002.pickle.pbz2")
    with pytest.raises(DataError, match=r"000002\S+ has no entry in meta\.pickle\.pbz2, which lists 2 architectures"):
        nats_file.read(folder, silent)


# --- The command --------------------------------------------------------------------


@pytest.fixture
def sources():
    return [s for s in installed_sources() if s.name == "nasbench"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_import_writes_a_table_that_train_reads(aiop, tmp_path, folder, tfrecord, suffix):
    from aiop_core.pipeline.table_rows import read_rows

    both = ((folder, "nb201", "cifar10_test_3ep", 1.0325), (tfrecord, "nb101", "val_acc_108ep", 0.92))
    for source, family, name, value in both:
        out = tmp_path / f"{family}{suffix}"
        done = aiop("nasbench", "import", source, "-o", out)
        assert done.code == 0, done.err
        assert f"2 architectures of {family}" in done.out
        assert f"--family {family} --spec-columns " in done.out
        rows = read_rows(out, {name: "--label"})
        assert float(rows[0].cells[name]) == pytest.approx(value)


def test_import_overwrites_only_when_told(aiop, tmp_path, tfrecord):
    out = tmp_path / "labels.csv"
    out.write_text("mine")
    done = aiop("nasbench", "import", tfrecord, "-o", out)
    assert done.code == 1
    assert "exists; name another file, or overwrite it with --force" in done.err
    assert aiop("nasbench", "import", tfrecord, "-o", out, "--force").code == 0
    assert len(list(csv.DictReader(out.open()))) == 2
    done = aiop("nasbench", "import", tfrecord, "-o", tmp_path / "labels.xlsx")
    assert "must end with .csv or .parquet, by which the file is known" in done.err


def test_an_unwritable_table(tfrecord, tmp_path, monkeypatch):
    table = nb101_file.read(tfrecord, silent)
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        table.write(tmp_path / "no folder" / "labels.csv")
    with pytest.raises(DataError, match=r"must end with \.csv or \.parquet"):
        table.write(tmp_path / "labels.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"needs pyarrow: pip install 'aiop-family-nasbench\[parquet\]', or name a \.csv"
    ):
        table.write(tmp_path / "labels.parquet")
