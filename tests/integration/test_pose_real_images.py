"""Latents, heads and labels of a few of the real Leeds Sports Pose images."""

import json

import pytest

from aiop_core.plugins import installed_sources

SMALL = (
    "--data lsp_extended --input-size 64 --task.head skip --filters 8 --flip-test false --batch 8 --epochs 1".split()
)
LATENTS, HEAD = ("--latents.per-stratum", 1, "--latents.hold", 8), ("--head.epochs", 1, "--head.batch", 8)


@pytest.fixture
def sources():
    return installed_sources()


@pytest.mark.data
def test_the_whole_chain_on_real_images(aiop, shared_data, tmp_path):
    real, ours = shared_data / "pose" / "lsp_extended", tmp_path / "lsp_extended"
    (ours / "images").mkdir(parents=True)
    (ours / "joints.mat").symlink_to(real / "joints.mat")
    for file in sorted((real / "images").iterdir())[:20]:
        (ours / "images" / file.name).symlink_to(file)
    what = ("--task", "hpe2d", *SMALL, "--data-dir", tmp_path, "--family", "ofa_pn", "--count", 3)
    done = aiop("agreement", *what, *LATENTS, *HEAD, "--shared.epochs", 1, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found["labels"]) == {"individual", "sample", "swap"}
    assert all(0 <= label < 1 for labels in found["labels"].values() for label in labels)
    assert json.loads((tmp_path / "out" / "individual" / "resolved.json").read_text())["input_size"] == 64
    checked = aiop("data", "check", "hpe2d", "--data", "lsp_extended", "--data-dir", tmp_path)
    assert "20 of 10,000 images" in checked.out
