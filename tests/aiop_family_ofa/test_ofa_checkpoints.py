"""Downloads, from a server on this machine that can misbehave."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aiop_core.errors import WeightsError
from aiop_family_ofa import checkpoints
from aiop_family_ofa.checkpoints import Checkpoint, fetch

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.path != "/norange" else 0
        if self.path == "/missing":
            self.send_error(404)
            return
        if start >= len(BODY):
            self.send_error(416)
            return
        piece = BODY[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        self.wfile.write(piece[: len(piece) // 2] if self.path == "/short" and not start else piece)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ranges = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at(server, path, **fields):
    return Checkpoint("net", f"http://127.0.0.1:{server.server_port}/{path}", **fields)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_is_recorded_and_not_repeated(server, tmp_path):
    checkpoint = at(server, "file", git_blob=BLOB)
    path = fetch(checkpoint, tmp_path / "new")
    assert path.read_bytes() == BODY
    assert (tmp_path / "new" / "net.sha256").read_text() == f"{SHA256}  net\n"
    assert fetch(checkpoint, tmp_path / "new") == path
    assert server.ranges == [None]
    assert names(tmp_path / "new") == ["net", "net.sha256"]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    checkpoint = at(server, "short")
    with pytest.raises(WeightsError, match=f"only {len(BODY) // 2} of {len(BODY)} bytes came; run again") as caught:
        fetch(checkpoint, tmp_path)
    for part in ("'net'", checkpoint.address, str(tmp_path / "net")):
        assert part in str(caught.value)
    assert names(tmp_path) == ["net.part"]
    assert fetch(checkpoint, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]


def test_a_server_without_ranges_sends_all(server, tmp_path):
    (tmp_path / "net.part").write_bytes(b"stale")
    assert fetch(at(server, "norange"), tmp_path).read_bytes() == BODY


def test_a_part_that_is_too_long_is_dropped(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY + b"more")
    assert fetch(at(server, "file"), tmp_path).read_bytes() == BODY
    assert server.ranges == [f"bytes={len(BODY) + 4}-", None]


def test_a_complete_part_is_brought_again(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY)
    assert fetch(at(server, "file"), tmp_path).read_bytes() == BODY


def test_a_part_of_another_file_is_noticed(server, tmp_path):
    (tmp_path / "net.part").write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match=r"git object id .* expected"):
        fetch(at(server, "file", git_blob=BLOB), tmp_path)
    assert names(tmp_path) == []


def test_not_there(server, tmp_path):
    checkpoint = at(server, "missing")
    with pytest.raises(WeightsError, match="'net' could not be downloaded: HTTP Error 404") as caught:
        fetch(checkpoint, tmp_path)
    assert checkpoint.address in str(caught.value)
    assert str(tmp_path / "net") in str(caught.value)


def test_nobody_answers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    with pytest.raises(WeightsError, match=rf"could not be downloaded: .*[Rr]efused.*address: {address}"):
        fetch(Checkpoint("net", address), tmp_path)


@pytest.mark.parametrize("given", [{"sha256": "0" * 64}, {"git_blob": "0" * 40}])
def test_a_wrong_checksum_keeps_nothing(server, tmp_path, given):
    blob = given.pop("git_blob", "")
    with pytest.raises(WeightsError, match=r"(SHA-256|git object id) of '.*' is \w+, expected 0+; delete the file"):
        fetch(at(server, "file", git_blob=blob), tmp_path, **given)
    assert names(tmp_path) == []


def test_a_file_that_changed_on_disk(server, tmp_path):
    checkpoint = at(server, "file")
    path = fetch(checkpoint, tmp_path)
    path.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(WeightsError, match=f"the SHA-256 of '.*net' is .*, expected {SHA256}"):
        fetch(checkpoint, tmp_path)


def test_a_file_brought_by_hand_is_recorded(server, tmp_path):
    (tmp_path / "net").write_bytes(BODY)
    fetch(at(server, "missing", git_blob=BLOB), tmp_path)
    assert (tmp_path / "net.sha256").read_text().startswith(SHA256)
    assert server.ranges == []


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=f"could not be downloaded: .*place: {tmp_path}/file/net"):
        fetch(at(server, "file"), tmp_path / "file")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AIOP_CACHE", str(tmp_path))
    assert checkpoints.default_folder() == tmp_path
    monkeypatch.delenv("AIOP_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoints.default_folder() == tmp_path / ".cache" / "aiop"
