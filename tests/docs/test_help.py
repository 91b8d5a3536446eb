"""`help` says something of everything public: no name of `ottla.__all__` and no public member of a class is mute."""

from __future__ import annotations

import inspect

import pytest

import ottla

CLASSES = sorted(
    name for name in ottla.__all__ if inspect.isclass(getattr(ottla, name)) and name != "Header"
)
HOT = [
    (ottla.Producer, "send"),
    (ottla.Producer, "send_nowait"),
    (ottla.Producer, "send_many"),
    (ottla.AsyncProducer, "send"),
    (ottla.AsyncProducer, "send_nowait"),
    (ottla.AsyncProducer, "send_many"),
    (ottla.Delivery, "result"),
    (ottla.Delivery, "exception"),
    (ottla.Delivery, "add_done_callback"),
]


def mute_members(cls: type) -> list[str]:
    """Public names of the class that `help` would show without a word, inherited ones of ours included."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("ottla")]
    names = {name for base in ours for name in vars(base) if not name.startswith("_")}
    members = {name: inspect.getattr_static(cls, name) for name in names}
    return sorted(
        name
        for name, member in members.items()
        if (inspect.isroutine(member) or inspect.isdatadescriptor(member))
        and not inspect.ismemberdescriptor(member)
        and not inspect.getdoc(getattr(cls, name))
    )


@pytest.mark.parametrize("name", CLASSES)
def test_class_and_members_are_documented(name: str) -> None:
    cls = getattr(ottla, name)
    assert inspect.getdoc(cls), f"ottla.{name} has no docstring"
    assert mute_members(cls) == [], f"members of ottla.{name} without a docstring"


@pytest.mark.parametrize(("cls", "name"), HOT, ids=lambda value: getattr(value, "__name__", value))
def test_hot_methods_have_a_signature_and_all_sections(cls: type, name: str) -> None:
    method = getattr(cls, name)
    parameters = list(inspect.signature(method).parameters)
    text = inspect.getdoc(method) or ""
    assert parameters[0] == "self"
    assert "--\n" not in text, "CPython did not take the signature out of the text"
    assert "Args:" in text
    for parameter in parameters[1:]:
        assert f"    {parameter}:" in text, (
            f"{cls.__name__}.{name} does not say what {parameter} is"
        )
    assert "Threads:" in text or name == "exception"
    if name != "add_done_callback":
        assert "Raises:" in text


CLIENTS = [
    getattr(ottla, world + name)
    for world in ("", "Async")
    for name in ("Producer", "Consumer", "ConsumerGroup", "GroupSession")
]
TIMED = [
    (cls, name)
    for cls in CLIENTS
    for name, method in inspect.getmembers(cls, inspect.isroutine)
    if not name.startswith("_") and "timeout" in inspect.signature(method).parameters
]


@pytest.mark.parametrize(
    ("cls", "name"), TIMED, ids=lambda value: getattr(value, "__name__", value)
)
def test_timeout_has_one_meaning(cls: type, name: str) -> None:
    """Seconds; not given, the limit of the configuration or the number in the signature; None: no limit."""
    default = inspect.signature(getattr(cls, name)).parameters["timeout"].default
    assert default is ottla.DEFAULT_TIMEOUT or default == 25.0
    text = " ".join((inspect.getdoc(getattr(cls, name)) or "").split())
    if "timeout:" not in text:
        assert "rguments" in text, f"{name} does not say what timeout is, nor which method does"
        return
    described = text.partition("timeout:")[2]
    assert described.startswith(" Seconds")
    assert (
        "None: " in described
        or "Not given or None: " in described
        or "Not given and None: " in described
    )
    if default is ottla.DEFAULT_TIMEOUT:
        assert "Not given" in described


def test_a_mute_member_is_found() -> None:
    class Silent:
        __module__ = "ottla.nowhere"

        def speak(self) -> None:
            pass

    assert mute_members(Silent) == ["speak"]


OUTCOMES = ("KafkaError", "DeliveryTimeout", "EarlierMessageFailed", "Closed", "ForkedClient")
WAITS = [
    (ottla.Delivery, "result"),
    (ottla.Delivery, "exception"),
    (ottla.Producer, "send_and_wait"),
    (ottla.AsyncProducer, "send_and_wait"),
]


@pytest.mark.parametrize(
    ("cls", "name"), WAITS, ids=lambda value: getattr(value, "__name__", value)
)
def test_the_help_of_a_wait_for_an_outcome_has_every_failure(cls: type, name: str) -> None:
    text = inspect.getdoc(getattr(cls, name)) or ""
    missing = {
        error for error in (*OUTCOMES, "Timeout") if f"{error}:" not in text.replace(",", ":")
    }
    assert missing == set()


@pytest.mark.parametrize(
    "method", [ottla.Producer.send_and_wait, ottla.AsyncProducer.send_and_wait]
)
def test_the_help_shows_how_to_wait_for_less_than_the_delivery_timeout(method: object) -> None:
    text = inspect.getdoc(method) or ""
    assert "has no timeout of its own" in text
