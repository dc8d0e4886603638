"""Everything that can go wrong because of what a user gave, and nothing else.

Every message says what was given, what is allowed, and what to do next. The
command line prints it as one line and exits with 1.
"""


class AiopError(Exception):
    """A mistake that a user can mend; shown without a traceback."""


class PluginError(AiopError):
    """A plugin could not be loaded, lacks what it needs, or broke a rule of the hooks."""


class UnknownNameError(AiopError):
    """No family, task, predictor … of that name is installed."""


class OptionError(AiopError):
    """An option does not exist, or its value is not allowed."""


class SpecError(AiopError):
    """A text does not describe an architecture of the family."""


class ModelError(AiopError):
    """A model spelling names nothing that can be loaded."""


class GraphError(AiopError):
    """A computation graph breaks one of its invariants, or cannot be made."""


class StoreError(AiopError):
    """A label store is missing, corrupt or belongs to other options."""


class CacheError(AiopError):
    """A graph cache is missing, corrupt or of an unknown version."""


class DataError(AiopError):
    """A data set is missing, incomplete or unreadable."""


class WeightsError(AiopError):
    """Weights are missing, damaged, or do not fit the network."""


class LabelError(AiopError):
    """A label is absent, not finite, or outside its unit."""


class SplitError(AiopError):
    """A split cannot be made from so few records."""


class ContractError(AiopError):
    """A plugin's object does not do what its contract says."""
