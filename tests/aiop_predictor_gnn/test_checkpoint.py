"""Weights of the research code under our names."""

from __future__ import annotations

import pytest
import torch

from aiop_core.errors import WeightsError
from aiop_predictor_gnn.checkpoint import from_paper


def test_names_are_ours_and_unused_layers_are_left_out() -> None:
    one = torch.ones(1)
    found = from_paper(
        {
            "embed_layer.kernel_embed_layer.weight": one,
            "encoder.gnn_layers.3.lin_rel.bias": one,
            "encoder.gnn_layers.4.lin_r.weight": one,
            "encoder.init_ff.weight": one,
            "aggregator.gnn_aggr_layer.init_ff.bias": one,
            "post_proj.4.bias": one,
        }
    )
    assert list(found) == [
        "embedding.kernel.weight",
        "encoder.layers.3.lin_rel.bias",
        "encoder.layers.4.lin_root.weight",
        "projection.4.bias",
    ]


def test_a_strange_name_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"tensor 'body.weight' is not one of the research code's CGRegressor"):
        from_paper({"body.weight": torch.ones(1)})
