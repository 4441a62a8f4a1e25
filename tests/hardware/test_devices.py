"""Which device, which dtype, how many threads: what is asked for, and a sentence for what is not there."""

import pytest
import torch

from coladlm import ColaDLM
from coladlm.hardware.devices import SMALL_PARAMETERS, choose_device, choose_dtype, choose_threads
from coladlm.networks.layers import angle_dtype
from coladlm.train.precision import training_device

CPU = torch.device("cpu")


def test_a_device_is_taken_by_its_name():
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("cuda", "mps", "taken"), [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")]
)
def test_auto_takes_a_gpu_of_either_make_before_the_processor(monkeypatch, cuda, mps, taken):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == torch.device(taken)


def test_apples_gpus_compute_in_float32_and_make_no_angle_in_float64():
    mps = torch.device("mps")
    assert choose_dtype("auto", mps, 4096) == torch.float32
    assert choose_dtype("float16", mps, 4096) == torch.float16
    assert angle_dtype(mps) == torch.float32  # it has no other


def test_a_training_takes_apples_gpu_only_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert training_device("auto") == "cpu"
    monkeypatch.setattr("coladlm.train.precision.choose_device", torch.device)
    assert training_device("mps") == "mps"


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used"):
        choose_device(device)


def test_a_small_network_computes_in_float32_and_a_large_one_in_bfloat16_on_a_gpu_that_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    cuda = torch.device("cuda")
    assert choose_dtype("auto", CPU, 256) == choose_dtype("auto", cuda, 256) == torch.float32
    assert choose_dtype("auto", cuda, 2048) == torch.bfloat16
    assert choose_dtype("bfloat16", CPU, 256) == torch.bfloat16
    assert choose_dtype(torch.float16, CPU, 256) == torch.float16


def test_an_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="dtype is 'int7', expected auto or one of float32"):
        choose_dtype("int7", CPU, 256)
    with pytest.raises(ValueError, match=r"float16, int8$"):
        choose_dtype("int7", CPU, 256, ["int8"])


def test_a_model_names_int8_among_its_dtypes(golden_folder):
    with pytest.raises(ValueError, match=r"dtype is 'int4', expected auto or one of .*int8$"):
        ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="int4")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS and refuses nothing")
def test_the_sentence_for_a_device_that_is_not_there_is_one():
    with pytest.raises(ValueError, match="device 'mps' cannot be used: ") as refused:
        choose_device("mps")
    assert len(str(refused.value)) < 200 and "CPU:" not in str(refused.value)


def test_a_small_network_gets_one_thread_and_a_large_one_all():
    assert choose_threads(SMALL_PARAMETERS, CPU) == 1
    assert choose_threads(SMALL_PARAMETERS + 1, CPU) == torch.get_num_threads()
    assert choose_threads(1, torch.device("cuda")) == torch.get_num_threads()
    assert choose_threads(SMALL_PARAMETERS + 1, CPU, 5) == 5
