"""The classifiers, segmentation and detection networks of torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models import detection, segmentation

from aiop_zoo_torch.detectors import fixed_part


class TorchvisionZoo:
    """Networks of torchvision, randomly initialised; detectors without what depends on an image's contents."""

    def names(self) -> Sequence[str]:
        """Classification, then segmentation, then detection."""
        return [name for part in (models, segmentation, detection) for name in models.list_models(module=part)]

    def module(self, name: str) -> nn.Module:
        """The network without weights; of a detector, see :mod:`aiop_zoo_torch.detectors`."""
        if name not in models.list_models(module=models):
            module: nn.Module = models.get_model(name, weights=None, weights_backbone=None)
            return fixed_part(module) if name in models.list_models(module=detection) else module
        extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        classifier: nn.Module = models.get_model(name, weights=None, **extra)
        size = self.input_shape(name)[-1]
        if isinstance(classifier, models.VisionTransformer) and classifier.image_size != size:
            classifier = models.get_model(name, weights=None, image_size=size)  # it fits one size only
        return classifier

    def input_shape(self, name: str) -> tuple[int, ...]:
        """What its published weights were measured at; of a detector, a square of its shorter side."""
        if name in models.list_models(module=detection):
            with torch.device("meta"):
                transform = models.get_model(name, weights=None, weights_backbone=None).transform
            return (3, *(transform.fixed_size or (transform.min_size[-1],) * 2))
        preset = models.get_model_weights(name).DEFAULT.transforms.keywords
        size = preset.get("crop_size") or preset["resize_size"]
        return 3, size, size
