"""A sample of the sweep in ``benchmarks/zoo.py``: one model of each kind of network in timm."""

import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.trace import UnknownOperationWarning, trace
from aiop_zoo_torch.timm_zoo import TimmZoo

SAMPLE = """
    beit_base_patch16_224 botnet26t_256 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32
    convnext_atto crossvit_9_240 cspdarknet53 davit_tiny densenet121 dla34 dpn68 eca_halonext26ts efficientformer_l1
    efficientnet_b0 efficientnet_cc_b0_4e efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fastvit_t8
    focalnet_tiny_srf gcvit_xxtiny ghostnet_100 hgnet_tiny hiera_tiny_224 hrnet_w18_small inception_next_atto
    inception_resnet_v2 inception_v4 lambda_resnet26t lcnet_050 levit_128s mambaout_femto maxvit_pico_rw_256
    mixer_s32_224 mobilenetv3_small_050 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs
    mobilevitv2_050 mvitv2_tiny nasnetalarge nest_tiny nextvit_small nfnet_l0 pit_ti_224 pnasnet5large poolformer_s12
    pvt_v2_b0 regnetx_002 repvgg_a0 repvit_m0_9 res2net50_14w_8s resmlp_12_224 resnest14d resnet18 resnetv2_50
    rexnet_100 sebotnet33ts_256 selecsls42 shvit_s1 skresnet18 starnet_s1 swin_tiny_patch4_window7_224
    swinv2_tiny_window8_256 tiny_vit_5m_224 tinynet_e tnt_s_legacy_patch16_224 tresnet_m twins_pcpvt_small vgg11
    visformer_tiny vit_tiny_patch16_224 vitamin_small_224 volo_d1_224 vovnet39a xception41 xcit_nano_12_p16_224
""".split()
"""One name of each module of timm; names that an installed timm lacks are left out."""

ZOO = TimmZoo()
NAMES = [name for name in SAMPLE if name in set(ZOO.names())]


def test_the_sample_is_mostly_there():
    assert len(NAMES) > 0.9 * len(SAMPLE)


@pytest.mark.parametrize("name", NAMES)
def test_traced_without_unknown_operations_and_counted_as_torch_does(name):
    shape = ZOO.input_shape(name)
    with torch.device("meta"):
        module = ZOO.module(name).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownOperationWarning)
        graph = trace(module, shape)
    assert problems(graph) == []
    assert graph.params.sum() == sum(p.numel() for p in module.parameters())
    macs = [torch_macs(module, torch.empty(batch, *shape, device="meta")) for batch in (1, 2)]
    theirs = macs[1] - macs[0]
    if name.startswith("convit"):  # it repeats its constant position scores for each image
        assert 0.99 * theirs < cost(graph).macs < theirs
    else:
        assert cost(graph).macs == theirs


def torch_macs(module, images):
    """What torch counts. A second image adds all but what is computed from constants, such as position encodings."""
    with FlopCounterMode(display=False) as counter:
        module(images)
    return counter.get_total_flops() // 2
