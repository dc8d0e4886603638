"""Names of caches, ours and the research code's."""

from pathlib import Path

import pytest
from tests.aiop_core.published import entry, written

from aiop_core.errors import CacheError
from aiop_core.pipeline.cache_names import CacheName, find_cache, parse_cache_name, read_cache


@pytest.mark.parametrize(
    ("name", "metric", "expected"),
    [
        (
            "gpi_ofa_mbv3_val_PCK_lsp_ind_comp_graph_cache.pkl",
            "val_PCK",
            CacheName("ofa_mbv3", "val_PCK", "lsp_ind"),
        ),
        (
            "gpi_ofa_pn_obj_det_coco_ind_comp_graph_cache.pkl.gz",
            "obj_det_AP",
            CacheName("ofa_pn", "obj_det_AP", "coco_ind"),
        ),
        ("ofa_pn_obj_det_AP_coco.safetensors", "obj_det_AP", CacheName("ofa_pn", "obj_det_AP", "coco")),
        ("ofa_resnet_val_PCK", "val_PCK", CacheName("ofa_resnet", "val_PCK")),
        ("gpi_nb101_comp_graph_cache.pkl", "acc", None),
        ("graphs.safetensors", "val_PCK", None),
        ("a_val_PCKx_b", "val_PCK", None),
    ],
)
def test_names_are_taken_apart(name, metric, expected):
    assert parse_cache_name(name, metric) == expected


def test_names_are_put_together():
    name = CacheName("ofa_pn", "val_PCK", "mpii_ind")
    assert name.file == "ofa_pn_val_PCK_mpii_ind.safetensors"
    assert parse_cache_name(name.file, "val_PCK") == name
    assert CacheName("f", "m").file == "f_m.safetensors"


@pytest.mark.parametrize("part", ["../x", "a/b", "", ".x"])
def test_parts_that_cannot_stand_in_a_file_name_are_refused(part):
    if part:
        with pytest.raises(CacheError, match=r"cannot be part of a file name; use letters, digits and _ \. \+ -"):
            _ = CacheName("f", "m", part).file
    assert "/" not in CacheName("f", "m", "").file


def test_a_name_finds_the_file(tmp_path):
    name = tmp_path / "ofa_pn_val_PCK_lsp_ind"
    assert find_cache(name) == name
    theirs = tmp_path / "gpi_ofa_pn_val_PCK_lsp_ind_comp_graph_cache.pkl"
    theirs.write_bytes(written([entry(metric_map="val_PCK->acc", acc=0.5)]))
    assert find_cache(name) == theirs
    assert find_cache(tmp_path / "ofa_pn_val_PCK_lsp_ind.safetensors") == theirs
    cache = read_cache(name, lambda _: None)
    assert (cache.metric.name, cache.families, cache.labels.tolist()) == ("val_PCK", ["ofa_pn"], [0.5])
    ours = tmp_path / "ofa_pn_val_PCK_lsp_ind.safetensors"
    cache.save(ours)
    assert find_cache(name) == find_cache(theirs.with_suffix(".pkl.gz")) == ours
    assert find_cache(theirs) == theirs


def test_what_is_nowhere_is_said(tmp_path):
    with pytest.raises(CacheError, match=r"there is no graph cache at .*absent"):
        read_cache(Path(tmp_path / "absent"), print)
