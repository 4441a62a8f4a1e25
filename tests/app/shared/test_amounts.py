"""Large numbers in words."""

import pytest

from app.shared.amounts import in_millions


@pytest.mark.parametrize(
    ("count", "words"),
    [(2_332_000_000, "2.3 billion"), (12_302_000, "12.3 million"), (1_000_000, "1.0 million"), (4096, "4,096")],
)
def test_a_number_is_said_in_the_largest_unit_that_it_reaches(count, words):
    assert in_millions(count) == words
