"""Training: repeats for a seed, ends in one line where it cannot go on, and does what the config says."""

import pytest
import torch
from torch import nn

from aiop_core.contracts import silent
from aiop_core.errors import LabelError, OptionError
from aiop_core.testing.reference_modules import reference_backbone


@pytest.fixture
def make_task(detectron2, quick):
    from aiop_task_detectron2.task import Detectron2Task

    return lambda **options: Detectron2Task(quick(**options))


def trained(task, body, seed=0, progress=silent):
    model = task.model(body)
    task.train(model, seed=seed, device="cpu", progress=progress)
    return model


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_seed_repeats_to_the_bit_and_another_differs(make_task, tiny_body):
    task, runs = make_task(), []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        runs.append(weights(trained(task, tiny_body(), seed)))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_worker_processes_change_no_weight(make_task, tiny_body):
    runs = [weights(trained(make_task(parts=("obj_det",), workers=n), tiny_body())) for n in (0, 1)]
    assert same(*runs)


def test_progress_counts_every_step(make_task, tiny_body):
    seen = []
    model = trained(make_task(iterations=3), tiny_body(), progress=lambda *told: seen.append(told))
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert all(note.startswith("loss ") for *_, note in seen)
    assert not model.detector.training


def test_a_training_learns(make_task, tiny_body):
    seen = []
    task = make_task(iterations=40, parts=("obj_det",), lr=0.02, overrides="SOLVER.WARMUP_ITERS 5")
    trained(task, tiny_body(), progress=lambda done, total, note: seen.append(float(note.split()[1])))
    assert sum(seen[-8:]) < 0.8 * sum(seen[:8])


class Exploding(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.levels = body, body.levels

    def forward(self, images):
        return [level * float("inf") for level in self.body(images)]


def test_a_loss_that_is_not_finite_is_an_error(make_task, tiny_body):
    task = make_task(parts=("sem_seg",))
    with pytest.raises(LabelError, match=r"the loss became nan in step 1 of 2; lower lr, now 0.05"):
        trained(task, Exploding(tiny_body()))


class Full(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.levels = body, body.levels

    def forward(self, images):
        if images.shape[0] > 1:  # not where freezing looks at the body
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmany lines")
        return self.body(images)


def test_a_gpu_without_memory_names_the_batch(make_task, tiny_body):
    with pytest.raises(
        LabelError,
        match=r"too little memory for 2 images a step; give a smaller batch \(--batch, of a head --head\.batch, of",
    ) as e:
        trained(make_task(parts=("sem_seg",)), Full(tiny_body()))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("freeze", "still"), [(0, 0), (2, 2), (5, 5)])
def test_frozen_levels_keep_their_weights_and_the_others_learn(make_task, tiny_body, freeze, still):
    body = tiny_body()
    before = [{n: p.clone() for n, p in block.named_parameters()} for block in body.blocks]
    trained(make_task(freeze=freeze), body)
    kept = [
        all(torch.equal(p, was[n]) for n, p in b.named_parameters()) for b, was in zip(body.blocks, before, strict=True)
    ]
    assert kept == [True] * still + [False] * (5 - still)


def test_batch_norms_are_measured_on_the_final_weights_if_asked_for(make_task, tiny_body):
    means = []
    for overrides in ("", "TEST.PRECISE_BN.ENABLED True TEST.PRECISE_BN.NUM_ITER 2"):
        model = trained(make_task(parts=("sem_seg",), overrides=overrides), tiny_body())
        means.append(model.detector.backbone.body.blocks[0][1].running_var.clone())
    assert not torch.allclose(*means, rtol=0.05)


def test_more_gpus_than_there_are(make_task, tiny_body, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for gpus, said in ((3, "gpus is 3, but torch sees 2; give no more"), (2, "2 GPUs cannot share 3 images a step")):
        with pytest.raises(OptionError, match=said):
            trained(make_task(gpus=gpus, batch=3), tiny_body())


@pytest.fixture
def two_processes(detectron2, monkeypatch):
    """Detectron2's launcher with two processes on the CPU, which release 0.6 refuses."""
    import inspect

    from detectron2.engine import launch as launcher

    if "GLOO" not in inspect.getsource(inspect.getmodule(launcher)):
        pytest.skip("detectron2 0.6 launches on GPUs only")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_two_processes_learn_together_and_tell_what_is_wrong(two_processes, make_task):
    seen, runs = [], []
    options = {"parts": ("sem_seg",), "freeze": 0, "overrides": "INPUT.RANDOM_FLIP none"}
    for gpus in (1, 2):
        task = make_task(gpus=gpus, **options)
        runs.append(trained(task, reference_backbone(), progress=lambda *told: seen.append(told[:2])))
    assert seen == [(1, 2), (2, 2)] * 2
    assert not runs[1].detector.training
    one, two = (dict(run.detector.sem_seg_head.named_parameters()) for run in runs)
    for name, value in one.items():  # the mean of the halves' gradients, but for batch-norms in the body
        torch.testing.assert_close(value, two[name], rtol=0.05, atol=0.02)
    with pytest.raises(LabelError, match=r"the loss became (nan|inf) in step 2 of 2; lower lr, now 1e\+30"):
        trained(make_task(gpus=2, lr=1e30, **options), reference_backbone())
