"""The published supernet checkpoints: names, addresses, and a download that can be resumed."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from aiop_core.errors import WeightsError

CACHE_VARIABLE = "AIOP_CACHE"
"""Environment variable: the folder that downloads go to."""

TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_OFA_NETS = "https://raw.githubusercontent.com/han-cai/files/a7c9bcd525e17404968bc55aa43772bf7e51909e/ofa/ofa_nets/"


@dataclass(frozen=True)
class Checkpoint:
    """A published file.

    Attributes:
        name: as its authors call it, and how the file in the cache is called.
        address: where it comes from.
        git_blob: its object id in the git repository that publishes it; the authors
            publish no other checksum. Empty where it is not kept in git.
    """

    name: str
    address: str
    git_blob: str = ""


PROXYLESS_W13 = Checkpoint(
    "ofa_proxyless_d234_e346_k357_w1.3",
    f"{_OFA_NETS}ofa_proxyless_d234_e346_k357_w1.3",
    "c97035a7a6fe611508f3bb35ffac0ef77262f5e0",
)
MOBILENET_V3_W10 = Checkpoint(
    "ofa_mbv3_d234_e346_k357_w1.0",
    f"{_OFA_NETS}ofa_mbv3_d234_e346_k357_w1.0",
    "55d835981d8acd1053657a951b18887a724ddcbf",
)
MOBILENET_V3_W12 = Checkpoint(
    "ofa_mbv3_d234_e346_k357_w1.2",
    f"{_OFA_NETS}ofa_mbv3_d234_e346_k357_w1.2",
    "d75a3613bae216091f61fc4b7df77d49cc82ed32",
)
RESNET50 = Checkpoint(
    "ofa_resnet50_d=0+1+2_e=0.2+0.25+0.35_w=0.65+0.8+1.0",
    "https://huggingface.co/han-cai/ofa/resolve/main/ofa_supernet_resnet50",
)


def default_folder() -> Path:
    """``$AIOP_CACHE``, else ``~/.cache/aiop``."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "aiop").expanduser()


def fetch(checkpoint: Checkpoint, folder: Path, *, sha256: str = "") -> Path:
    """The checkpoint's file in ``folder``, downloaded if it is not there, and verified.

    A download that breaks off leaves ``NAME.part`` and goes on from there next time. The
    SHA-256 is written to ``NAME.sha256`` when a file is first seen and must not change.

    Args:
        checkpoint: which file.
        folder: where it lies or shall lie.
        sha256: the expected sum; replaces the recorded one.

    Raises:
        WeightsError: naming file, address and place, if the file cannot be brought or is
            not the one expected.
    """
    path = folder / checkpoint.name
    record = path.with_name(f"{checkpoint.name}.sha256")
    part = path.with_name(f"{checkpoint.name}.part")
    try:
        if path.exists() and record.exists():
            verify(path, sha256 or record.read_text().partition(" ")[0])
            return path
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _download(checkpoint.address, part)
        new = path if path.exists() else part
        digest = verify(new, sha256, git_blob=checkpoint.git_blob)
        record.write_text(f"{digest}  {checkpoint.name}\n")
        new.replace(path)
    except WeightsError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{error} {_advice(checkpoint, path)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"'{checkpoint.name}' could not be downloaded: {error} {_advice(checkpoint, path)}"
        ) from error
    return path


def verify(path: Path, sha256: str, *, git_blob: str = "") -> str:
    """The file's SHA-256, compared with what is expected; an empty expectation is not compared.

    Raises:
        WeightsError: if a sum differs.
    """
    sums = {"SHA-256": hashlib.sha256(), "git object id": hashlib.sha1(usedforsecurity=False)}
    sums["git object id"].update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for total in sums.values():
                total.update(chunk)
    for (kind, total), expected in zip(sums.items(), (sha256, git_blob), strict=True):
        if expected and total.hexdigest() != expected.lower():
            raise WeightsError(
                f"the {kind} of '{path}' is {total.hexdigest()}, expected {expected}; "
                "delete the file to download it again, or correct weights_sha256;"
            )
    return sums["SHA-256"].hexdigest()


def _advice(checkpoint: Checkpoint, path: Path) -> str:
    return f"(address: {checkpoint.address}; place: {path}; bring the file there by hand, or set weights to 'none')"


def _download(address: str, part: Path) -> None:
    """Bring ``part`` to its full length; what it holds already is not asked for again."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - ours
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            length = response.headers.get("Content-Range", "").rpartition("/")[2] if resumed else ""
            length = length or response.headers.get("Content-Length", "")
            with part.open("ab" if resumed else "wb") as file:
                shutil.copyfileobj(response, file, _CHUNK)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        part.unlink()  # longer than the published file: not a piece of it
        _download(address, part)
        return
    got = part.stat().st_size
    if length.isdigit() and got < int(length):
        raise ConnectionError(f"only {got} of {length} bytes came; run again to go on from there")
    if length.isdigit() and got > int(length):
        raise WeightsError(f"'{part}' has {got} bytes, expected {length};")
