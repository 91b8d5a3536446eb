"""Explains calls with arguments that a method does not have, as users of other clients write them.

Costs a frame per call, so it is for methods that are not called per message. Threads: any.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def hinted(method: F) -> F:
    """The same method; a TypeError about its parameters names the argument to use here."""
    wrapper = _async(method) if inspect.iscoroutinefunction(method) else _plain(method)
    return cast("F", functools.wraps(method)(wrapper))


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except TypeError as error:
            if _is_of_the_call(error):
                raise _explained(method, args, named, error) from None
            raise

    return call


def _async(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **named: Any) -> Any:
        try:
            coroutine = method(*args, **named)
        except TypeError as error:
            raise _explained(method, args, named, error) from None
        return await coroutine

    return call


def _is_of_the_call(error: TypeError) -> bool:
    """Whether the arguments did not fit the parameters: then no code of the method ran, and the traceback ends at the call."""
    trace = error.__traceback__
    return trace is not None and trace.tb_next is None


def _explained(
    method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], error: TypeError
) -> TypeError:
    from ottla.config.foreign import argument_hint, positional_hint

    parameters = inspect.signature(method).parameters
    unknown = next((name for name in named if name not in parameters), None)
    if unknown is None:
        hint = positional_hint(method.__name__, args[1:])
    else:
        hint = argument_hint(method.__name__, unknown, named[unknown], list(parameters)[1:])
    return TypeError(f"{error}: {hint}" if hint else str(error))
