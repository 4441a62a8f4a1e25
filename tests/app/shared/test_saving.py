"""Files for a Saver: a file, or the reason why there is none."""

import pytest

from app.components.saver import saved
from app.shared.saving import file_or_reason


def test_a_file_is_given_as_it_is():
    file = saved("run.npz", "application/octet-stream", b"bytes")
    assert file_or_reason(lambda: file) is file


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("the text is empty"), "The text is empty."),
        (MemoryError(), "The run failed on the server (MemoryError)"),
    ],
)
def test_what_goes_wrong_is_said_in_place_of_a_file(error, said, caplog):
    def make():
        raise error

    value = file_or_reason(make)
    assert said in value["message"] and not value["data"]
    assert (error in [record.exc_info[1] for record in caplog.records]) == isinstance(error, MemoryError)
