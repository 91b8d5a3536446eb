"""API keys to generated classes; each module is loaded at its first use.

Station: request. Used by brokers to read any request, and by tools; a client names the class it
sends instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ottla.errors import UnsupportedVersion
from ottla.protocol.api_keys import APIS, Api, ApiKey
from ottla.protocol.base import Message

__all__ = ["APIS", "Api", "ApiKey", "api", "request_class", "response_class"]


def api(api_key: int) -> Api:
    """Return the description of an API without loading its module.

    Raises:
        UnsupportedVersion: No API that a client speaks has this key.
    """
    known = APIS.get(api_key)
    if known is None:
        raise UnsupportedVersion(f"API key {api_key} is not known")
    return known


def request_class(api_key: int) -> type[Message]:
    """Return the request class of an API; raises as `api`."""
    return _class(api(api_key), "Request")


def response_class(api_key: int) -> type[Message]:
    """Return the response class of an API; raises as `api`."""
    return _class(api(api_key), "Response")


def _class(known: Api, suffix: str) -> type[Message]:
    module = import_module(f"ottla.protocol.messages.{known.module}")
    return cast("type[Message]", getattr(module, known.name + suffix))
