"""To the pixel: a dot on a joint is found where the reader, the crop and the mirror say, in every format."""

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from aiop_task_hpe.augment import Change, cut
from aiop_task_hpe.joints import LSP, MPII
from aiop_task_hpe.lsp import read_whole
from aiop_task_hpe.mpii_formats import read_annotations
from aiop_task_hpe.patches import PatchStore
from aiop_task_hpe.persons import PATCH_MARGIN, persons

SIZE = 150
DOT = (93, 121)
"""Column and row of the white pixel, counted from 0, on the right wrist."""


def dotted():
    pixels = np.zeros((240, 200, 3), dtype=np.uint8)
    pixels[DOT[1], DOT[0]] = 255
    return pixels


def leeds(name, folder):
    """The person's extent is 80 pixels, so that its square of 100 with the margin is cut out at scale 1."""
    joints = np.full((14, 3), 90.0)
    joints[[0, 13], :2] = (61.5, 71.5), (131.5, 151.5)
    joints[LSP.names.index("r_wrist"), :2] = DOT[0] + 1, DOT[1] + 1
    joints[:, 2] = 0 if name == "lsp" else 1
    (folder / name / "images").mkdir(parents=True)
    table = np.repeat(joints[..., None], 3, axis=2)
    scipy.io.savemat(folder / name / "joints.mat", {"joints": table.transpose(1, 0, 2) if name == "lsp" else table})
    names = {"lsp": "im{:04d}.jpg", "lsp_extended": "im{:05d}.jpg", "hr_lspet": "im{:05d}.png"}
    for number in (1, 2, 3):
        Image.fromarray(dotted()).save(folder / name / "images" / names[name].format(number), format="png")
    return read_whole(name, folder, size=SIZE)


def mpii(kind, writer, person):
    """A scale of 0.4 is a square of 100 pixels, 6 below the published position."""
    wrist = MPII.names.index("r_wrist")
    one = person("1.jpg", {wrist: (DOT[0] + 1.0, DOT[1] + 1.0), 0: (70.0, 80.0)}, (101.5, 105.5), 0.4)
    writer.image("1.jpg", dotted())
    if kind == "mat":
        writer.mat([one])
        path = writer.folder / "mpii_human_pose_v1_u12_1.mat"
    else:
        path = writer.folder / "annot" / f"train.{kind}"
        (writer.json if kind == "json" else writer.h5)(path.name, [one])
    found = read_annotations(kind, path)
    files = [writer.folder / "images" / name for name in found.images]
    placed = {"centres": found.centres, "sides": found.sides, "heads": found.heads}
    return persons(files, found.joints, found.annotated, MPII, size=SIZE, **placed)


@pytest.mark.parametrize("kind", ["lsp", "lsp_extended", "hr_lspet", "json", "h5", "mat"])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_dot_on_a_joint_is_found_on_it(kind, mirror, tmp_path, mpii_writer, mpii_person):
    found = mpii(kind, mpii_writer, mpii_person) if kind in ("json", "h5", "mat") else leeds(kind, tmp_path)
    wrist = found.skeleton.names.index("r_wrist")
    assert found.joints[0, wrist].tolist() == list(DOT)

    patch = found.patch(0)
    rows, columns = np.nonzero(patch.image[..., 0])
    assert [(columns[0], rows[0])] == [tuple(patch.joints[wrist])]
    assert len(rows) == 1
    assert patch.image.max() == 255

    change = Change(torch.tensor([mirror]), torch.ones(1), torch.zeros(1), torch.ones(1, 3, 1, 1))
    seen = cut(PatchStore(found, workers=1, limit_mb=0).get([0]), change, 100)
    joint = found.skeleton.names.index("l_wrist" if mirror else "r_wrist")
    assert seen.annotated[0, joint]
    assert torch.nonzero(seen.images[0, 0]).tolist() == [seen.joints[0, joint].flip(0).tolist()]


def test_only_squares_from_joints_end_with_the_image(tmp_path):
    Image.fromarray(dotted()).save(tmp_path / "1.png")
    joints = np.array([[[50.0, 50.0], [250.0, 50.0]]])  # an extent of 200, with the margin 250 pixels
    known = np.ones((1, 2), dtype=bool)
    guessed = persons([tmp_path / "1.png"], joints, known, LSP, size=SIZE)
    given = persons([tmp_path / "1.png"], joints, known, LSP, size=SIZE, centres=guessed.centres, sides=guessed.sides)
    apart = [float(np.diff(found.patch(0).joints[:, 0])[0]) for found in (guessed, given)]
    assert apart == pytest.approx([200 / 240 * SIZE / PATCH_MARGIN, 200 / 250 * SIZE / PATCH_MARGIN])
