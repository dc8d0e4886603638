"""The kit passes the reference task with a shared head, and each check fails on one that is broken in just that way."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from aiop_core.errors import ContractError
from aiop_core.testing import conformance_tests, reference_sharing, sharing
from aiop_core.testing.reference import TaskOptions
from aiop_core.testing.reference_modules import reference_backbone
from aiop_core.testing.reference_sharing import HEAD, HeadOptions, LatentsOptions, SharedOptions, SharedReferenceTask


@conformance_tests(
    "task",
    reference_sharing.aiop_register_tasks()[0],
    {"images": 16, "epochs": 1},
    uses={"head": {"method": "swap", "steps": 2}},
)
def test_reference_task(check):
    check()


class MeasuresSomethingElse(SharedReferenceTask):
    def evaluate(self, model, *, device):
        return {"loss": 0.5}


class SpoilsTheBody(SharedReferenceTask):
    def attach(self, backbone, head):
        model = super().attach(backbone, head)
        torch.nn.init.zeros_(next(model.body.parameters()))
        return model


class DrawsTheHeadAnew(SharedReferenceTask):
    def attach(self, backbone, head):
        model = super().attach(backbone, head)
        torch.nn.init.normal_(model.classifier.bias)
        return model


class DrawsFromTheGlobalState(SharedReferenceTask):
    def train_head(self, bodies, latents, out, options, **rest):
        report = super().train_head(bodies, latents, out, options, **rest)
        weights = load_file(out / HEAD)
        save_file(weights | {"bias": np.random.rand(4).astype(np.float32)}, out / HEAD)
        return report


class LeavesTheModel(SharedReferenceTask):
    def finetune(self, model, options, *, seed, device, progress):
        pass


class TunesByTheGlobalState(SharedReferenceTask):
    def finetune(self, model, options, *, seed, device, progress):
        super().finetune(model, options, seed=int(torch.randint(99, ())), device=device, progress=progress)


class AlwaysTheSameBody(SharedReferenceTask):
    def attach(self, backbone, head):
        return super().attach(reference_backbone(), head)


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (MeasuresSomethingElse, sharing.a_shared_head_can_be_measured_on_any_body, "the metrics are"),
        (SpoilsTheBody, sharing.attaching_keeps_the_weights_of_body_and_head, "attach changed the body's"),
        (DrawsTheHeadAnew, sharing.attaching_keeps_the_weights_of_body_and_head, "other weights the second time"),
        (AlwaysTheSameBody, sharing.attaching_keeps_the_weights_of_body_and_head, "other weights the second time"),
        (DrawsFromTheGlobalState, sharing.training_a_head_is_seeded, "two heads trained with one seed differ"),
        (LeavesTheModel, sharing.finetuning_changes_the_model_and_is_seeded, "left every weight as it was"),
        (TunesByTheGlobalState, sharing.finetuning_changes_the_model_and_is_seeded, "two fine-tunings"),
    ],
)
def test_a_broken_task_is_found(broken, check, said):
    task = broken(TaskOptions(images=16, epochs=1))
    make = sharing.MakeHead(task, LatentsOptions(), HeadOptions("swap", 2), SharedOptions())
    with pytest.raises(ContractError, match=said):
        check(make)
