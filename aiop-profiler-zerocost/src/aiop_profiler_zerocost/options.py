"""What can be chosen about the scores."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option

LOSS_PROXIES = ("grad_norm", "snip", "plain", "fisher")
"""Scores made of the gradient of the loss."""

PROXIES = ("synflow", "nwot", "jacov", "grad_norm", "snip", "fisher", "l2_norm", "plain")
"""Every score there is."""


@dataclass(frozen=True)
class ZeroCostOptions:
    """The knobs of the proxies."""

    proxies: tuple[str, ...] = option(
        ("synflow", "nwot", "jacov", "grad_norm", "snip", "fisher"), "which scores", choices=PROXIES
    )
    batch: int = option(32, "images; nwot and jacov change with it, and published scores are of 64 or more", minimum=2)
    noise: str = option("pink", "what images are: pink is as smooth as photographs", choices=("pink", "white"))
    seed: int = option(0, "of the images and their labels", minimum=0)
