"""What tasks need that share one head over a family (:class:`~aiop_core.capabilities.Sharing`). Imports torch.

A plugin's ``plugin.py`` must not import it; what does the work may.

- :mod:`~aiop_core.sharing.bodies`: a family's bodies, equally wide and without training.
- :mod:`~aiop_core.sharing.norms`: batch-norm statistics, measured anew.
- :mod:`~aiop_core.sharing.padding`: levels of varying widths, made equally wide.
- :mod:`~aiop_core.sharing.features`: what a head learns from: draws from many bodies, or one body after another.
- :mod:`~aiop_core.sharing.moments`: mean and deviation over bodies, and draws from them.
- :mod:`~aiop_core.sharing.chance`: random numbers that follow from a step's number, so that a training can go on.
- :mod:`~aiop_core.sharing.freezing`: which parameters of a body learn.
- :mod:`~aiop_core.sharing.origin`: what something was made of, and whether that is what is wanted now.
- :mod:`~aiop_core.sharing.head_files`: the files of a head, and of its unfinished training.
- :mod:`~aiop_core.sharing.checkpoint_files`: files that torch reads, written whole or not at all.
- :mod:`~aiop_core.sharing.json_files`: JSON files that say their version.
"""
