"""What is kept for visitors is bounded in count, bytes and age."""

from app.shared.bounded_store import BoundedStore


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def store_of(count=3, max_bytes=100, seconds=10.0, clock=None) -> BoundedStore[str, bytes]:
    return BoundedStore(count, max_bytes, seconds, len, clock or Clock())


def keys(store: BoundedStore[str, bytes]) -> list[str]:
    return [key for key, _ in store.items()]


def test_of_more_values_than_are_kept_the_oldest_goes():
    store = store_of(count=3)
    for key in "abcd":
        store.keep(key, b"")
    assert keys(store) == ["b", "c", "d"] and store.get("a") is None


def test_of_more_bytes_than_are_kept_the_oldest_go():
    store = store_of(max_bytes=100)
    for key in "abc":
        store.keep(key, bytes(40))
    assert keys(store) == ["b", "c"]


def test_the_newest_stays_however_large_it_is():
    store = store_of(max_bytes=100)
    store.keep("a", bytes(10))
    store.keep("b", bytes(1000))
    assert keys(store) == ["b"]


def test_what_nobody_has_asked_for_in_the_time_goes():
    clock = Clock()
    store = store_of(seconds=10, clock=clock)
    for key in "ab":
        store.keep(key, b"x")
    clock.now = 8
    assert store.get("a") == b"x"
    clock.now = 16
    assert keys(store) == ["a"]
    clock.now = 27
    assert store.get("a") is None


def test_a_value_kept_anew_takes_the_place_of_the_one_before():
    store = store_of()
    for key, value in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        store.keep(key, value)
    assert store.items() == [("b", b"2"), ("a", b"3")]
    store.forget("a")
    assert keys(store) == ["b"]
