"""Secret values, whose text is never shown."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A value whose text is never shown: not in repr, logs, tracebacks or pickles.

    Args:
        value: The secret text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would reveal whether two secrets are equal

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied into one")
