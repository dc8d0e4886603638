"""MATLAB files of a data set, and how they can be broken."""

import zlib

from scipy.io.matlab import MatReadError

DAMAGE = (
    MatReadError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
    zlib.error,
)
"""What scipy raises, and looking into what it read, for a file that is cut off, damaged, of MATLAB 7.3 or of others."""
