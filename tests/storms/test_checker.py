"""Each promise that the checker of storms knows turns red when it is broken."""

from __future__ import annotations

from tests.storms.checker import Event, Findings, Sample, check


def events(*given: tuple[float, str, str, tuple[int, ...], int]) -> list[Event]:
    return [Event(*each) for each in given]


CLEAN = events(
    (1, "a", "assigned", (0,), -1),
    (2, "a", "processed", (0,), 0),
    (3, "a", "revoking", (0,), -1),
    (4, "a", "revoked", (0,), -1),
    (5, "b", "assigned", (0,), -1),
    (6, "b", "processed", (0,), 1),
)
SAMPLES = [Sample(2.5, 2.6, 0, 1), Sample(6.1, 6.2, 0, 2)]


def broken(
    more: list[Event], samples: list[Sample] = SAMPLES, ends: dict[int, int] | None = None
) -> dict[str, int]:
    return checked(more, samples, ends).broken(graceful=True)


def checked(
    more: list[Event], samples: list[Sample] = SAMPLES, ends: dict[int, int] | None = None
) -> Findings:
    return check([*CLEAN, *more], samples, {0: 2} if ends is None else ends)


def test_a_clean_storm_breaks_nothing() -> None:
    assert broken([]) == {}


def test_a_partition_of_two_members() -> None:
    assert broken(events((5.5, "a", "assigned", (0,), -1))) == {"two_owners": 1}


def test_a_member_that_was_killed_owns_nothing() -> None:
    more = events((6.5, "b", "killed", (), -1), (7, "c", "assigned", (0,), -1))
    assert broken(more) == {}


def test_a_commit_ahead_of_the_processed_records() -> None:
    assert broken([], [Sample(1.5, 1.6, 0, 1)]) == {"ahead": 1}
    assert broken([], [Sample(7, 7.1, 0, 3)], {0: 2}) == {"ahead": 1}


def test_a_commit_that_goes_back() -> None:
    assert broken([], [*SAMPLES, Sample(7, 7.1, 0, 1)]) == {"back": 1}


def test_a_record_that_no_member_processed() -> None:
    assert broken([], ends={0: 3}) == {"missing": 1}


def test_a_record_after_its_partition_was_revoked() -> None:
    found = broken(events((3.5, "a", "processed", (0,), 1)))
    assert found == {"after_revoked": 1, "twice": 1}
    assert broken(events((4.5, "a", "processed", (0,), 1))) == found
    assert broken(events((6.5, "c", "processed", (0,), 2)), ends={0: 3}) == {"after_revoked": 1}


def test_a_record_that_is_processed_twice() -> None:
    more = events((7, "b", "processed", (0,), 1))
    assert broken(more) == {"twice": 1}
    assert checked(more).broken(graceful=False) == {}, "after a kill it may be"


def test_a_partition_without_an_owner_at_the_end() -> None:
    assert broken([], ends={0: 2, 1: 0}) == {"unowned": 1}
    assert broken(events((7, "b", "lost", (0,), -1))) == {"unowned": 1}
