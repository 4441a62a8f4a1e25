"""Which device, which dtype, how many threads: what is asked for, and a sentence for what is not there."""

import pytest
import torch

from coladlm.hardware.devices import SMALL_PARAMETERS, choose_device, choose_dtype, choose_threads

CPU = torch.device("cpu")


def test_auto_takes_what_is_there():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used"):
        choose_device(device)


def test_a_small_network_computes_in_float32_on_a_cpu():
    assert choose_dtype("auto", CPU, 256) == torch.float32
    assert choose_dtype("bfloat16", CPU, 256) == torch.bfloat16
    assert choose_dtype(torch.float16, CPU, 256) == torch.float16


def test_an_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="dtype is 'int7', expected auto or one of float32"):
        choose_dtype("int7", CPU, 256)


def test_a_small_network_gets_one_thread_and_a_large_one_all():
    assert choose_threads(SMALL_PARAMETERS, CPU) == 1
    assert choose_threads(SMALL_PARAMETERS + 1, CPU) == torch.get_num_threads()
    assert choose_threads(1, torch.device("cuda")) == torch.get_num_threads()
