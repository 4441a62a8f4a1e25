"""What holds for every component of the page."""

from .conftest import NARROW


def test_every_component_starts_without_an_error_and_fits_a_phone(parts, bare):
    every = {f"part-{i}": part for i, part in enumerate(parts.all())}
    page = bare(every, NARROW, bench="bench")
    assert len(every) > 30
    for name in every:
        assert page.locator(f"#{name} > .html > *").count() > 0, name
    assert page.overflow() <= 0
