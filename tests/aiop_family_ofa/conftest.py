"""Once-for-all's own supernets with random weights."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These networks are small; threads that wait for each other cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Oracle:
    """A supernet of the once-for-all library, and the file its published one would be."""

    supernet: torch.nn.Module
    path: Path

    def subnet(self, config):
        self.supernet.set_active_subnet(**config)
        return self.supernet.get_active_subnet(preserve_weight=True).eval()


def randomise(module, generator):
    """Random values for everything that initialisation leaves equal: norms, transforms, biases."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith(("running_var", "bn.weight")):
                tensor.uniform_(0.6, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1, generator=generator)
            elif name.endswith("_matrix"):
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.05)
            elif name.endswith("weight"):
                fan_in = tensor[0].numel()
                tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets, OFAResNets

    mobile = {"dropout_rate": 0, "ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    resnet = {"depth_list": [0, 1, 2], "expand_ratio_list": [0.2, 0.25, 0.35], "width_mult_list": [0.65, 0.8, 1.0]}
    makers = {
        "ofa_pn": lambda: OFAProxylessNASNets(width_mult=1.3, **mobile),
        "ofa_mbv3": lambda: OFAMobileNetV3(width_mult=1.2, **mobile),
        "ofa_mbv3_w1.0": lambda: OFAMobileNetV3(width_mult=1.0, **mobile),
        "ofa_resnet": lambda: OFAResNets(dropout_rate=0, **resnet),
    }
    folder, made = tmp_path_factory.mktemp("supernets"), {}

    def make(name):
        if name not in made:
            with torch.random.fork_rng():
                supernet = makers[name]()
            randomise(supernet, torch.Generator().manual_seed(7))
            torch.save({"state_dict": supernet.state_dict()}, folder / name)
            made[name] = Oracle(supernet, folder / name)
        return made[name]

    return make
