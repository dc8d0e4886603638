"""Supernet files that are not what they should be, and random weights."""

import hashlib

import pytest
import torch

from aiop_core.errors import WeightsError
from aiop_family_ofa import checkpoints
from aiop_family_ofa.checkpoints import Checkpoint
from aiop_family_ofa.family import create
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions


def network(family):
    return family.network(family.sample(1, seed=0)[0])


@pytest.mark.parametrize(
    ("options", "file", "message"),
    [
        (
            MobileNetV3Options,
            "ofa_mbv3_w1.0",
            r"of ofa_mbv3 \(width 1.2\): 'stem.0.conv.weight' has shape \(16, 3, 3, 3\)",
        ),
        (ProxylessOptions, "ofa_mbv3", r"of ofa_pn \(width 1.3\): 'stem.0.conv.weight' has shape .* \(and \d+ more\)"),
        (
            ResNetOptions,
            "ofa_pn",
            r"of ofa_resnet: 'stem.0.conv.weight' is missing \(and \d+ more\); the published file is 'ofa_resnet50_d=",
        ),
    ],
)
def test_the_file_of_another_supernet(options, file, message, oracle):
    with pytest.raises(WeightsError, match=message):
        network(create(options(weights=str(oracle(file).path))))


def damaged(content, tmp_path):
    path = tmp_path / "file"
    torch.save(content, path)
    return create(MobileNetV3Options(weights=str(path)))


def test_a_file_without_a_layer(oracle, tmp_path):
    state = dict(oracle("ofa_mbv3").supernet.state_dict())
    del state["blocks.3.conv.depth_conv.conv.7to5_matrix"]
    with pytest.raises(WeightsError, match=r"'blocks.3.depth_conv.conv.7to5_matrix' is missing; the published"):
        network(damaged({"state_dict": state}, tmp_path))


def test_a_file_with_a_layer_too_many(oracle, tmp_path):
    state = {**oracle("ofa_mbv3").supernet.state_dict(), "extra.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"'extra.weight' does not belong to it"):
        network(damaged({"state_dict": state}, tmp_path))


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": 3}, {"epoch": 3}])
def test_a_file_without_weights(content, tmp_path):
    with pytest.raises(WeightsError, match="hold no state dict; expected is a file like 'ofa_mbv3_"):
        network(damaged(content, tmp_path))


def test_a_missing_file(tmp_path):
    with pytest.raises(
        WeightsError, match=r"there is no weights file '.*gone'; give the path of a checkpoint of ofa_pn"
    ):
        network(create(ProxylessOptions(weights=str(tmp_path / "gone"))))


def test_a_truncated_file(oracle, tmp_path):
    path = tmp_path / "half"
    content = oracle("ofa_mbv3").path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"half' are damaged or no torch checkpoint: .*; bring the file again"):
        network(create(MobileNetV3Options(weights=str(path))))


def test_a_path_with_a_checksum(oracle):
    path = oracle("ofa_mbv3").path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    network(create(MobileNetV3Options(weights=str(path), weights_sha256=digest.upper())))
    with pytest.raises(WeightsError, match=f"is {digest}, expected {'0' * 64}"):
        network(create(MobileNetV3Options(weights=str(path), weights_sha256="0" * 64)))


def test_official_weights_come_through_the_cache(oracle, tmp_path, monkeypatch):
    """A file of the published name in the cache folder is used, and its sum recorded."""
    source = oracle("ofa_mbv3").path
    name = "ofa_mbv3_d234_e346_k357_w1.2"
    monkeypatch.setattr(checkpoints, "MOBILENET_V3_W12", Checkpoint(name, source.as_uri()))
    monkeypatch.setenv("AIOP_CACHE", str(tmp_path))
    family = create(MobileNetV3Options(weights="official"))
    architecture = family.sample(1, seed=0)[0]
    direct = create(MobileNetV3Options(weights=str(source))).network(architecture)
    for ours, theirs in zip(family.network(architecture).parameters(), direct.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert sorted(p.name for p in (tmp_path / "ofa").iterdir()) == [name, f"{name}.sha256"]


# --- Random weights -----------------------------------------------------------------

ALL = [ProxylessOptions(), MobileNetV3Options(), ResNetOptions()]


@pytest.mark.parametrize("options", ALL)
def test_random_weights_repeat_and_leave_the_global_generator_alone(options):
    family = create(options)
    a, b = family.sample(2, seed=0)
    state = torch.random.get_rng_state()
    first, again, other = family.network(a).state_dict(), family.network(a).state_dict(), family.network(b).state_dict()
    body = family.backbone(a).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert all(torch.equal(tensor, first[f"body.{name}"]) for name, tensor in body.items())
    assert not torch.equal(first["classifier.weight"][:10, :10], other["classifier.weight"][:10, :10])


@pytest.mark.parametrize("options", ALL)
def test_he_initialisation(options):
    module = network(create(options))
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            fan_out = layer.kernel_size[0] ** 2 * layer.out_channels
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.3), name
            assert layer.bias is None or not layer.bias.any()
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.running_var == 1).all()
            assert not layer.bias.any()
            assert not layer.running_mean.any()
    output = module.eval()(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert output.isfinite().all()


@pytest.mark.parametrize("options", ALL)
def test_modules_on_the_meta_device(options):
    family = create(options)
    architecture = family.sample(1, seed=0)[0]
    with torch.device("meta"):
        modules = [family.network(architecture), family.backbone(architecture)]
    assert all(tensor.is_meta for module in modules for tensor in module.state_dict().values())


def test_published_dropout_and_epsilon():
    """Epsilon is 1e-3 in ProxylessNAS alone; ResNets have no dropout."""
    found = []
    for options in ALL:
        module = network(create(options))
        norms = {layer.eps for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)}
        found.append((module.dropout.p, norms))
    assert found == [(0.1, {1e-3}), (0.1, {1e-5}), (0.0, {1e-5})]


def test_random_weights_follow_from_torchs_seed():
    family = create(ProxylessOptions())
    architecture = family.sample(1, seed=0)[0]

    def first(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            weights = torch.cat([p.detach().flatten() for p in family.backbone(architecture).parameters()])
            assert torch.equal(torch.get_rng_state(), before)
        return weights

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def fingerprint(weights, **options):
    return create(ProxylessOptions(weights=str(weights), **options)).fingerprint()


def test_the_fingerprint_is_of_what_the_files_hold(tmp_path):
    (tmp_path / "one").mkdir()
    files = {name: tmp_path / "one" / name for name in ("supernet.pth", "images.pth")}
    for path in files.values():
        path.write_bytes(b"first")
    found = {
        "none": fingerprint("none"),
        "file": fingerprint(files["supernet.pth"]),
        "folder": fingerprint(tmp_path / "one"),
    }
    assert found["none"] == ""
    assert len(set(found.values())) == 3
    assert fingerprint((tmp_path / "one").rename(tmp_path / "two")) == found["folder"]
    (tmp_path / "two" / "images.pth").write_bytes(b"other")
    assert fingerprint(tmp_path / "two" / "supernet.pth") == found["file"]
    assert fingerprint(tmp_path / "two") != found["folder"]
    (tmp_path / "two" / "supernet.pth").write_bytes(b"other")
    assert fingerprint(tmp_path / "two" / "supernet.pth") != found["file"]


def test_the_fingerprint_knows_the_calibration_images(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").write_bytes(b"1")
    options = {"calibration_images": tmp_path / "images", "calibration_count": 1}
    found = [fingerprint(tmp_path / "weights"), fingerprint(tmp_path / "weights", **options)]
    for name, content in (("b.png", b"22"), ("a.png", b"22")):
        (tmp_path / "images" / name).write_bytes(content)
        found.append(fingerprint(tmp_path / "weights", **options))
    assert len(set(found)) == 4
    (tmp_path / "images" / "c.png").write_bytes(b"not used")
    assert fingerprint(tmp_path / "weights", **options) == found[-1]


def test_the_fingerprint_is_read_once_and_needs_the_files(tmp_path):
    (tmp_path / "supernet.pth").write_bytes(b"weights")
    with pytest.raises(
        WeightsError, match=r"weights file '.*images.pth' cannot be read \(No such file.*; give the path"
    ):
        fingerprint(tmp_path)
    family = create(ProxylessOptions(weights=str(tmp_path / "supernet.pth")))
    first = family.fingerprint()
    (tmp_path / "supernet.pth").unlink()
    assert family.fingerprint() == first


def test_the_fingerprint_of_published_weights_is_the_downloads(tmp_path, monkeypatch):
    (tmp_path / "net").write_bytes(b"published")
    monkeypatch.setattr(checkpoints, "fetch", lambda checkpoint, folder, *, sha256: tmp_path / "net")
    assert fingerprint("official", cache_dir=tmp_path) == fingerprint(tmp_path / "net")
