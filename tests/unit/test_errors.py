"""The exception tree: what each carries, shows and survives."""

from __future__ import annotations

import copy
import pickle

import pytest

from ottla import errors, kafka_errors
from ottla.message import TopicPartition
from ottla.observe.failures import error_data, error_from
from tests.native.test_producer import Wire, bound, make_flow


def test_repr_has_the_parts_of_str() -> None:
    error = errors.for_code(29, topic="orders", outcome="not_written")
    text = "TOPIC_AUTHORIZATION_FAILED (29) [orders, outcome not_written]"
    assert repr(error) == f"TopicAuthorizationFailed({text!r})"
    assert repr(errors.Timeout("late")) == "Timeout('late')"
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert repr(again) == repr(error)


def test_standard_families() -> None:
    assert issubclass(errors.Timeout, TimeoutError)
    assert issubclass(errors.ConnectionLost, ConnectionError)
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.StateError, RuntimeError)


def test_no_brokers_available_has_one_line_per_address() -> None:
    error = errors.NoBrokersAvailable(
        "no broker", attempts=[("a:1", "refused"), ("b:2", "time-out")]
    )
    assert str(error).splitlines() == ["no broker", "  a:1: refused", "  b:2: time-out"]


def test_config_error_shows_every_problem_and_a_single_one_as_it_is() -> None:
    both = errors.ConfigError("2 problems", problems=["one", "two"])
    assert str(both).splitlines() == ["2 problems", "  one", "  two"]
    single = errors.ConfigError("needs it")
    assert (str(single), single.problems) == ("needs it", ("needs it",))


def test_decode_error_names_the_offset() -> None:
    error = errors.DecodeError("bad CRC", topic="orders", partition=1, offset=42)
    assert str(error) == "bad CRC [orders-1@42]"


PUBLIC = sorted(
    {
        value
        for module in (errors, kafka_errors)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, errors.Error)
    },
    key=lambda made: made.__name__,
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_survives_pickle_and_copy(protocol: int) -> None:
    assert len(PUBLIC) > 120
    for made in PUBLIC:
        error = made("the cause")
        error.topic, error.partition, error.outcome = "orders", 3, "unknown"
        error.add_note("seen while shutting down")
        for twin in (
            pickle.loads(pickle.dumps(error, protocol)),
            copy.copy(error),
            copy.deepcopy(error),
        ):
            assert type(twin) is made
            assert (str(twin), twin.args) == (str(error), error.args)
            assert twin.__dict__ == error.__dict__
            assert twin.__notes__ == ["seen while shutting down"]
            assert isinstance(twin, TimeoutError) == isinstance(error, TimeoutError)


def test_the_accepted_deliveries_of_an_error_are_not_pickled() -> None:
    wire = Wire(make_flow())
    full = bound(Wire(make_flow(buffer_bytes=20_000, max_block=0.0)).flow)
    with pytest.raises(errors.BufferFull) as caught:
        full.send_many("t", [bytes(1000)] * 100)
    error = caught.value
    assert error.accepted is not None
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (type(twin), str(twin), twin.accepted) == (errors.BufferFull, str(error), None)
    assert copy.copy(error).accepted is error.accepted
    many = bound(wire.flow).send_many("t", [b""])
    failure = errors.CommitFailed("no", partitions={TopicPartition("t", 0): error})
    failure.accepted = many
    twin = pickle.loads(pickle.dumps(failure))
    assert twin.accepted is None
    assert str(twin.partitions[TopicPartition("t", 0)]) == str(error)


def test_errors_survive_pickle_and_copy() -> None:
    made: list[errors.Error] = [
        errors.NoBrokersAvailable("no broker", attempts=[("a:1", "refused")]),
        errors.ConnectionLost("reset", kind="io", address="a:1", outcome="unknown"),
        errors.ConfigError("2 problems", problems=["one", "two"]),
        errors.CommitFailed("no", partitions={TopicPartition("orders", 1): errors.Timeout("late")}),
        errors.MessageTooLarge("big", topic="orders", partition=2, outcome="not_written"),
        errors.Timeout("late"),
    ]
    for error in made:
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(twin) is type(error)
            assert str(twin) == str(error)
            assert repr(twin.__dict__) == repr(error.__dict__)


def test_every_class_states_whether_it_happened() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.Error)
    ]
    assert len(classes) > 15
    for made in classes:
        assert made.__doc__ is not None
        assert "Did it happen?" in made.__doc__, made


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.for_code(19, "1 of 2", topic="t"), "NOT_ENOUGH_REPLICAS (19): 1 of 2"),
        (errors.for_code(999), "UNKNOWN_CODE (999)"),
        (errors.ConnectionLost("reset", address="b:1", outcome="unknown"), "b:1: reset"),
        (errors.NoBrokersAvailable("nobody"), "nobody"),
        (errors.NoBrokersAvailable("a:1 is down", attempts=[("a:1", "no")]), "a:1 is down: no"),
        (
            errors.NoBrokersAvailable(
                "nobody", attempts=[("a:1", "no"), ("a:1", "no"), ("b:1", "no")]
            ),
            "nobody: a:1: no; b:1: no",
        ),
        (errors.ConfigError("two:", problems=["a", "b"]), "two:"),
        (errors.Timeout("late"), "late"),
        (errors.AuthenticationFailed("no\nway"), "no; way"),
        (ValueError("not\nours"), "ValueError: not; ours"),
    ],
)
def test_an_error_in_one_line_survives_the_way_through_rust(error: Exception, line: str) -> None:
    assert errors.line_of(error) == line
    if isinstance(error, errors.Error):
        again = error_from(error_data(error))
        assert errors.line_of(again) == line
        known = isinstance(error, errors.ConfigError)
        assert type(again) is (errors.Error if known else type(error))


def test_an_address_that_was_tried_twice_is_named_once() -> None:
    error = errors.NoBrokersAvailable("nobody", attempts=[("a:1", "no"), ("a:1", "no")])
    assert str(error) == "nobody\n  a:1: no"
