"""What the server counts stays small, whatever its requests are called."""

from coladlm.serve.metrics import MAX_OPERATIONS, Metrics


def test_operations_with_many_names_are_counted_together():
    metrics = Metrics()
    for number in range(1000):
        metrics.ended(f"name{number}", "refused", 0.1)
        metrics.shared(f"name{number}")
    counted = metrics.shared_requests
    assert len(counted) == MAX_OPERATIONS + 1 and sum(counted.values()) == 1000
    assert metrics.text({}).count('outcome="refused"') == MAX_OPERATIONS + 1


def test_a_name_that_is_counted_already_stays_apart():
    metrics = Metrics()
    for name in ("generate", *(f"name{number}" for number in range(100)), "generate"):
        metrics.shared(name)
    assert metrics.shared_requests["generate"] == 2
