"""Every knob of the task. ``None`` means *as the data set wants it*; :func:`resolve` says what that is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from aiop_core.errors import OptionError
from aiop_core.options import option

DATA_SETS = ("synthetic", "lsp", "lsp_extended", "hr_lspet", "mpii")

VALIDATION_OFFSET = 10_000_000
"""Number of the first synthetic validation image: no training set is larger."""

_HOURGLASS = "pytorch-pose-hg-3d, which the paper's code builds on"


@dataclass(frozen=True)
class PoseOptions:
    """Options of ``hpe2d``."""

    data: str = option("synthetic", "data set", choices=DATA_SETS)
    data_dir: Path | None = option(
        None, "folder that holds the data set's folder, lsp/, lsp_extended/, hr_lspet/ or mpii/, or is it", runtime=True
    )
    extension: str = option(
        "lsp_extended",
        "lsp: what is trained on beside its first 1,000 images; its last 1,000 measure",
        choices=("lsp_extended", "hr_lspet", "nothing"),
        source="the usual protocol; the paper's code wants both folders",
    )
    annotations: str = option(
        "any", "mpii: format of the annotations; any: the first that is there", choices=("any", "json", "h5", "mat")
    )
    train_images: int = option(640, "synthetic: images to train on", minimum=2, maximum=VALIDATION_OFFSET)
    val_images: int = option(600, "synthetic: images to measure on", minimum=1)
    data_seed: int = option(0, "synthetic: another seed is another world of images", minimum=0)
    train_share: float = option(
        0.8,
        "lsp_extended, hr_lspet, mpii from its .mat: share of the persons, from the first on, to train on",
        minimum=0.01,
        maximum=0.99,
    )
    input_size: int | None = option(None, "height and width of the network's input, pixels", minimum=32)
    output_stride: int | None = option(None, "input pixels per heat-map pixel", choices=(1, 2, 4, 8, 16, 32))
    head: str | None = option(
        None, "pose head: from the coarsest level, or with skip connections", choices=("deconv", "skip")
    )
    filters: int | None = option(None, "width of the head's stages", minimum=1)
    head_widths: tuple[int, ...] = option(
        (), "zero-pad the backbone's levels to these channels, for a head shared over varying widths"
    )
    epochs: int | None = option(None, "passes over the training images", minimum=1)
    batch: int | None = option(None, "images per step", minimum=2)
    optimiser: str = option("adam", "optimiser", choices=("adam", "rmsprop"), source=_HOURGLASS)
    lr: float | None = option(None, "highest learning rate", minimum=1e-9)
    schedule: str | None = option(
        None, "learning rate over time: cosine, or a tenth at each of lr_steps", choices=("cosine", "step")
    )
    lr_steps: tuple[float, ...] = option(
        (90 / 140, 120 / 140),
        "schedule step: where it falls, as shares of all epochs",
        minimum=0,
        maximum=1,
        source=_HOURGLASS,
    )
    warmup: float | None = option(None, "share of all steps over which the learning rate rises", minimum=0, maximum=0.9)
    sigma: float | None = option(None, "standard deviation of a target's Gaussian, heat-map pixels", minimum=0.1)
    flip: float = option(0.5, "chance of mirroring a training image", minimum=0, maximum=1, source=_HOURGLASS)
    scale: float | None = option(None, "deviation of the random scale around 1", minimum=0, maximum=0.9)
    rotation: float | None = option(None, "deviation of the random rotation, degrees", minimum=0, maximum=180)
    color: float = option(0.2, "largest change of a colour channel's gain", minimum=0, maximum=1)
    recalibrate: int | None = option(
        None, "batches to measure batch-norm statistics on after training; 0 keeps the running ones", minimum=0
    )
    flip_test: bool | None = option(None, "average the maps of the image and its mirror image when measuring")
    workers: int = option(2, "threads that read and cut images", minimum=1, runtime=True)
    cache_mb: int = option(4096, "keep cut images in memory up to this size, MB", minimum=0, runtime=True)


_REAL = PoseOptions(
    input_size=256,
    output_stride=4,
    head="deconv",
    filters=256,
    epochs=140,
    batch=32,
    lr=1e-3,
    schedule="step",
    warmup=0.0,
    sigma=2.0,
    scale=0.25,
    rotation=30.0,
    recalibrate=0,
    flip_test=True,
)

_DEFAULTS: dict[str, PoseOptions] = {
    **dict.fromkeys(DATA_SETS, _REAL),
    "synthetic": PoseOptions(
        input_size=64,
        output_stride=4,
        head="skip",
        filters=64,
        epochs=1,
        batch=16,
        lr=1e-2,
        schedule="cosine",
        warmup=0.15,
        sigma=1.0,
        scale=0.0,
        rotation=0.0,
        recalibrate=4,
        flip_test=False,
    ),
}
"""What ``None`` means for each data set.

Source: for real data the paper's code (140 epochs, input 256, output 64, 256 filters) and
the defaults of pytorch-pose-hg-3d, on which it builds (Adam, 1e-3, tenths at epochs 90
and 120, batch 32, Gaussian of 2, scale 0.25, rotation 30°, flip-test). The synthetic
values were chosen by measurement: labels well above the mean pose's in about nine seconds on
two cores (benchmarks/label_quality.py).
"""


@dataclass(frozen=True)
class Settings:
    """:class:`PoseOptions` with every ``None`` resolved."""

    data: str
    data_dir: Path | None
    extension: str
    annotations: str
    train_images: int
    val_images: int
    data_seed: int
    train_share: float
    input_size: int
    output_stride: int
    head: str
    filters: int
    head_widths: tuple[int, ...]
    epochs: int
    batch: int
    optimiser: str
    lr: float
    schedule: str
    lr_steps: tuple[float, ...]
    warmup: float
    sigma: float
    flip: float
    scale: float
    rotation: float
    color: float
    recalibrate: int
    flip_test: bool
    workers: int
    cache_mb: int


def resolve(options: PoseOptions) -> Settings:
    """The values that will be used.

    Raises:
        OptionError: if the options contradict each other.
    """
    defaults = _DEFAULTS[options.data]
    unset = {f.name: getattr(defaults, f.name) for f in fields(options) if getattr(options, f.name) is None}
    full = replace(options, **unset)
    settings = Settings(**{f.name: getattr(full, f.name) for f in fields(Settings)})
    if settings.input_size % settings.output_stride:
        raise OptionError(
            f"input size {settings.input_size} is not a multiple of output stride {settings.output_stride}; "
            "choose sizes that are"
        )
    if settings.data != "synthetic" and settings.data_dir is None:
        raise OptionError(f"data '{settings.data}' needs data_dir, the folder that holds {settings.data}/; give it")
    return settings
