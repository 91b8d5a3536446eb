"""A table that one test goes through: every failure is reported, and an empty table is one."""

from __future__ import annotations

import pytest

from tests.cases import check_each, for_each


@for_each([(1, 1), (2, 4), (3, 9)])
def test_a_case_has_its_arguments(number: int, square: int) -> None:
    assert number**2 == square


def test_all_failures_are_reported_with_their_cases() -> None:
    checked: list[int] = []

    def check(number: int) -> None:
        checked.append(number)
        assert number % 2
        if number == 3:
            pytest.fail("three")

    with pytest.raises(BaseExceptionGroup, match="3 of 5 cases") as caught:
        check_each(check, [1, 2, 3, 4, 5])
    assert checked == [1, 2, 3, 4, 5]
    notes = [failure.__notes__ for failure in caught.value.exceptions]
    assert notes == [["case 2: 2"], ["case 3: 3"], ["case 4: 4"]]


def test_a_table_without_cases_fails() -> None:
    with pytest.raises(AssertionError, match="no cases"):
        check_each(print, [])
