"""The one way in which a check says that a promise is broken."""

from aiop_core.errors import ContractError


def require(kept: bool, otherwise: str) -> None:
    """Nothing if the promise is ``kept``.

    Raises:
        ContractError: with the message ``otherwise``.
    """
    if not kept:
        raise ContractError(otherwise)
