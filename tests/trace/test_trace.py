"""Traces hold exactly what the run did, come back from files unchanged, and no file gets past the checks."""

import dataclasses
import io
import json
import random
import zipfile

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import coladlm.trace
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.events import BlockDone, Finished, Step
from coladlm.settings import SamplerSettings
from coladlm.trace import SPECS, Trace, TraceError
from coladlm.trace.recorder import TraceRecorder, preview

# The last tokens of the first prompt do not fill a block, so that its answer needs a block more than the others.
TEXTS = ("Once upon a time", "The cat sat", "")
SETTINGS = SamplerSettings(steps=3, max_new_tokens=8, guidance=3.0)
RECIPE = Recipe("generate", TEXTS, SETTINGS, model="f")


@pytest.fixture(scope="module")
def events(model):
    """The events of a run, with what each step's preview was while the run stood there."""
    return [(event, event.preview() if isinstance(event, Step) else None) for event in run(model, RECIPE)]


def recorded(model, recipe=RECIPE, stop_after=None, **options) -> Trace:
    watcher = TraceRecorder(recipe, **options)
    stream = watcher.watch(run(model, recipe))
    for index, _ in enumerate(stream):
        if index + 1 == stop_after:
            break
    stream.close()
    return watcher.trace()


@pytest.fixture(scope="module")
def trace(model) -> Trace:
    return recorded(model, dtype="float32")


def saved(trace: Trace, folder) -> bytes:
    trace.save(folder / "trace.npz")
    return (folder / "trace.npz").read_bytes()


def packed(entries: dict[str, np.ndarray], **changes) -> io.BytesIO:
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in (entries | changes).items() if array is not None})
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def entries(trace, tmp_path_factory) -> dict[str, np.ndarray]:
    """What stands in the file of a trace."""
    with np.load(io.BytesIO(saved(trace, tmp_path_factory.mktemp("trace"))), allow_pickle=False) as file:
        return dict(file)


# what is recorded


def test_every_step_is_recorded_as_it_was(events, trace):
    for event, _ in events:
        if isinstance(event, Step):
            for name in ("z", "velocity", "t", "t_next", "conditional", "unconditional"):
                torch.testing.assert_close(
                    torch.from_numpy(getattr(trace, name)[:, event.block, event.index]), getattr(event, name)
                )
            np.testing.assert_allclose(trace.clean()[:, event.block, event.index], event.clean, atol=1e-5)
    assert trace.recorded.all() and trace.guided.all()


def test_every_block_is_recorded_as_it_was(events, trace):
    for event, _ in events:
        if isinstance(event, BlockDone):
            active = event.active.numpy()
            np.testing.assert_array_equal(trace.active[:, event.block], active)
            for name in ("latents", "token_ids", "logprobs"):
                np.testing.assert_array_equal(getattr(trace, name)[active, event.block], getattr(event, name)[active])
    assert trace.finished.tolist() == [True] * 3


def test_previews_are_what_the_decoder_reads(events, trace):
    for event, logits in events:
        if isinstance(event, Step):
            at = (event.active.numpy(), event.block, event.index)
            p = logits.softmax(-1)[event.active]
            top = logits[event.active].sort(-1, descending=True).values
            np.testing.assert_array_equal(trace.preview_ids[at], p.argmax(-1))
            np.testing.assert_allclose(trace.preview_confidence[at], p.amax(-1), rtol=1e-4)
            np.testing.assert_allclose(trace.preview_margin[at], top[..., 0] - top[..., 1], atol=1e-4)
            np.testing.assert_allclose(
                trace.preview_entropy[at], torch.distributions.Categorical(p).entropy(), rtol=1e-4
            )


def test_the_end_is_recorded(events, trace):
    end = events[-1][0]
    assert isinstance(end, Finished)
    assert (trace.texts, trace.reasons, trace.answers) == (end.texts, end.reasons, end.token_ids)
    assert not trace.stopped and trace.prompts == list(TEXTS)


def test_a_sequence_that_has_ended_leaves_nothing_behind(trace):
    idle = ~trace.active
    assert idle.tolist() == [[False, False, False], [False, False, True], [False, False, True]]
    for name, array in trace.arrays().items():
        if len(SPECS[name].axes) > 2 and SPECS[name].axes.startswith("sb"):
            assert (array[idle] == (-1 if array.dtype == np.int32 else 0)).all(), name


def test_the_guided_velocity_follows_from_the_two_behind_it(trace):
    guided = trace.unconditional + SETTINGS.guidance * (trace.conditional - trace.unconditional)
    row = 2  # without a prompt there is nothing to be guided by in the first block
    np.testing.assert_allclose(trace.velocity[:2], guided[:2], atol=1e-5)
    np.testing.assert_allclose(trace.velocity[row, 0], trace.conditional[row, 0], atol=1e-5)


def test_without_guidance_there_is_a_single_velocity(model):
    trace = recorded(model, dataclasses.replace(RECIPE, settings=dataclasses.replace(SETTINGS, guidance=1.0)))
    assert trace.conditional is None and trace.unconditional is None and not trace.guided.any()


def test_steps_outside_the_guidance_interval_have_one_velocity(model):
    settings = dataclasses.replace(SETTINGS, steps=4, guidance_interval=(300.0, 800.0))
    trace = recorded(model, dataclasses.replace(RECIPE, settings=settings))
    assert trace.guided.tolist() == [[False, True, True, False]] * 3  # t = 1000, 750, 500, 250
    np.testing.assert_array_equal(trace.conditional[:, :, 0], trace.velocity[:, :, 0])
    assert not trace.unconditional[:, :, 0].any() and trace.unconditional[:, :, 1].any()


def test_float16_halves_the_states_and_keeps_three_digits(model, trace):
    half = recorded(model)
    assert half.z.dtype == np.float16 and half.latents.dtype == np.float32
    np.testing.assert_allclose(half.z, trace.z, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(half.token_ids, trace.token_ids)


def test_previews_can_be_left_out(model):
    watcher = TraceRecorder(RECIPE, previews=False)
    for _ in watcher.watch(run(model, RECIPE)):
        assert watcher.latest is None
    assert watcher.trace().preview_ids is None


def test_the_latest_preview_is_that_of_the_step_under_way(model):
    watcher = TraceRecorder(RECIPE)
    for event in watcher.watch(run(model, RECIPE)):
        if isinstance(event, Step):
            torch.testing.assert_close(watcher.latest.confidence, preview(event.preview()).confidence)


class _NoWaiting(TorchDispatchMode):
    """Fails on whatever would make the host wait for a device: reading a value out of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


def test_recording_a_step_reads_nothing_back_and_a_block_moves_once(model, monkeypatch):
    moved = []
    move = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: moved.append(tensor) or move(tensor))
    watcher = TraceRecorder(RECIPE, previews=False)
    for event in run(model, RECIPE):
        before = len(moved)
        with _NoWaiting():
            watcher.add(event)
        assert len(moved) - before == isinstance(event, BlockDone)


# runs that are stopped


@pytest.mark.parametrize("previews", [True, False])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 6, 8, 12])
def test_a_stopped_run_gives_a_trace_of_what_there_is(model, trace, tmp_path, stop_after, previews):
    partial = recorded(model, stop_after=stop_after, dtype="float32", previews=previews)
    blocks, steps = divmod(stop_after, SETTINGS.steps + 1)
    assert partial.stopped and partial.reasons == ["stopped"] * 3
    assert partial.finished.tolist() == [True] * blocks + [False] * (steps > 0)
    assert partial.recorded.sum(1).tolist() == [SETTINGS.steps] * blocks + [steps] * (steps > 0)
    np.testing.assert_array_equal(partial.z[:, :blocks], trace.z[:, :blocks])
    np.testing.assert_array_equal(partial.token_ids[:, :blocks], trace.token_ids[:, :blocks])
    if steps:
        np.testing.assert_array_equal(partial.z[:, blocks, :steps], trace.z[:, blocks, :steps])
        assert not partial.z[:, blocks, steps:].any() and (partial.token_ids[:, blocks] == -1).all()
    if blocks:
        assert all(whole.startswith(part.rstrip("�")) for part, whole in zip(partial.texts, trace.texts, strict=True))
    partial.save(tmp_path / "part.npz")
    np.testing.assert_array_equal(Trace.load(tmp_path / "part.npz").z, partial.z)


def test_a_run_that_was_stopped_at_once_gives_an_empty_trace(tmp_path):
    empty = TraceRecorder(RECIPE).trace()
    assert empty.z.shape == (3, 0, 0, 0, 0) and empty.texts == ["", "", ""] and empty.stopped
    empty.save(tmp_path / "empty.npz")
    assert Trace.load(tmp_path / "empty.npz").recipe == RECIPE


def test_events_that_do_not_follow_are_refused(model, events):
    watcher = TraceRecorder(RECIPE)
    with pytest.raises(TraceError, match="Step is of block 1, expected block 0"):
        watcher.add(next(event for event, _ in events if isinstance(event, Step) and event.block == 1))
    watcher.add(events[-1][0])
    with pytest.raises(TraceError, match="Step came after Finished"):
        watcher.add(events[0][0])
    with pytest.raises(TraceError, match="the batch has 3 sequences, expected 2"):
        TraceRecorder(RECIPE, prompts=["a", "b"]).add(events[0][0])
    with pytest.raises(TraceError, match="dtype is 'int8', expected float16 or float32"):
        TraceRecorder(RECIPE, dtype="int8")


def test_events_that_an_operation_adds_pass_by(model, trace):
    def more():
        for event in run(model, RECIPE):
            yield "on the way"
            yield event
        yield "summary"

    watcher = TraceRecorder(RECIPE, dtype="float32")
    assert list(watcher.watch(more()))[-1] == "summary"
    np.testing.assert_array_equal(watcher.trace().z, trace.z)


def test_numbers_beyond_float16_saturate_and_nan_is_refused(events):
    step = events[0][0]
    watcher = TraceRecorder(RECIPE, previews=False)
    watcher.add(dataclasses.replace(step, z=step.z + 1e6))
    assert watcher.trace().z.max() == np.finfo(np.float16).max
    watcher = TraceRecorder(RECIPE, previews=False)
    watcher.add(dataclasses.replace(step, z=step.z / 0))
    watcher.add(dataclasses.replace(step, index=1, velocity=step.velocity * torch.nan))
    with pytest.raises(TraceError, match=r"velocity is nan at \(0, 0, 1, 0, 0\), expected finite"):
        watcher.trace()


# files


def test_a_file_gives_back_the_trace(trace, tmp_path):
    trace.save(tmp_path / "trace.npz")
    for source in (tmp_path / "trace.npz", str(tmp_path / "trace.npz"), open(tmp_path / "trace.npz", "rb")):  # noqa: SIM115
        again = Trace.load(source)
        assert again.arrays().keys() == trace.arrays().keys()
        for name, array in trace.arrays().items():
            np.testing.assert_array_equal(array, getattr(again, name))
            assert array.dtype == getattr(again, name).dtype
        for name in ("recipe", "prompts", "texts", "reasons", "answers"):
            assert getattr(again, name) == getattr(trace, name)


def test_a_file_that_cannot_be_written_leaves_the_old_one(trace, tmp_path, monkeypatch):
    before = saved(trace, tmp_path)

    def break_off(file, **arrays):
        file.write(before[:1000])
        raise OSError("no space left")

    monkeypatch.setattr(coladlm.trace.np, "savez_compressed", break_off)
    with pytest.raises(OSError, match="no space left"):
        trace.save(tmp_path / "trace.npz")
    assert (tmp_path / "trace.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["trace.npz"]


def words(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def outcome(entries, **changes) -> np.ndarray:
    return words(json.dumps(json.loads(bytes(entries["outcome"])) | changes))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda e: {"z": None}, "z is missing"),
        (lambda e: {"recipe": None}, "recipe is missing"),
        (lambda e: {"unconditional": None}, "unconditional is missing, expected it beside conditional"),
        (lambda e: {"preview_margin": None}, "preview_margin is missing, expected it beside preview_ids"),
        (lambda e: {"weights": e["z"]}, "an entry 'weights.npy'"),
        (lambda e: {"z": e["z"].astype(np.float64)}, "z is float64, expected an array of float16 or float32"),
        (lambda e: {"z": e["z"].astype(">f4")}, "z is >f4, expected"),
        (lambda e: {"token_ids": e["token_ids"].astype(np.int64)}, "token_ids is int64"),
        (lambda e: {"z": e["z"].astype(object)}, "z has .* for object"),
        (lambda e: {"z": np.asfortranarray(e["z"])}, "expected plain rows"),
        (lambda e: {"z": e["z"][0]}, r"z has shape .* expected \(sequence, block, step, position, channel\)"),
        (lambda e: {"z": e["z"][:, :, :-1]}, "velocity has shape .* expected 2 for step in"),
        (lambda e: {"z": e["z"][:2]}, "z has shape .* expected 3 for sequence in .* as in texts"),
        (lambda e: {"z": e["z"] * np.float32(np.nan)}, r"z is nan at \(0, 0, 0, 0, 0\), expected finite"),
        (lambda e: {"t": e["t"] + 1}, "t is 1001.0 at .* from 0 to 1000"),
        (lambda e: {"token_ids": e["token_ids"] - 5}, "token_ids is -"),
        (lambda e: {"preview_confidence": e["preview_confidence"] + 1}, "preview_confidence is .* from 0 to 1"),
        (lambda e: {"active": (e["active"].astype(np.uint8) + 1).view(bool)}, "active is 2 at .* true or false"),
        (lambda e: {"finished": ~e["finished"]}, "finished is false for a block before the last"),
        (lambda e: {"token_ids": e["token_ids"][..., :3], "logprobs": e["logprobs"][..., :3],
                    "preview_ids": e["preview_ids"][..., :3]}, "expected 3 for token of a block|has 3 tokens"),
        (lambda e: {"recipe": words("{}")}, "the recipe inside cannot be used: operation is missing"),
        (lambda e: {"recipe": np.zeros((2, 2), np.uint8)}, "recipe is uint8 of shape .* expected bytes of text"),
        (lambda e: {"outcome": words("{")}, "damaged"),
        (lambda e: {"outcome": words("[" * 100_000)}, "damaged"),
        (lambda e: {"outcome": words("[]")}, "outcome has the wrong keys"),
        (lambda e: {"outcome": outcome(e, version=2)}, "another version, expected 1"),
        (lambda e: {"outcome": outcome(e, texts=[])}, "texts is no list or empty"),
        (lambda e: {"outcome": outcome(e, texts=["a", "b", 3])}, "texts is no list of 3 texts"),
        (lambda e: {"outcome": outcome(e, prompts=["a"])}, "prompts is no list of 3 texts"),
        (lambda e: {"outcome": outcome(e, texts=["a", "b", "\ud800"])}, "texts has half a character"),
        (lambda e: {"outcome": outcome(e, answers=[1, 2, 3])}, "answers is no list of 3 lists"),
        (lambda e: {"outcome": outcome(e, answers=[[1], [2.5], []])}, "answers holds something that is no token id"),
    ],
)  # fmt: skip
def test_wrong_files_get_a_sentence(entries, change, sentence):
    with pytest.raises(TraceError, match=f"^trace: .*(?:{sentence})"):
        Trace.load(packed(entries, **change(entries)))


def test_a_file_that_is_no_trace_gets_a_sentence(tmp_path):
    for name, data in {
        "a.npz": b"",
        "b.npz": b"text",
        "c.npz": b"PK\x03\x04" + b"\x00" * 50,
        "d.npz": b"\x93NUMPY",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TraceError, match=f"{name}: not an .npz file"):
            Trace.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "none.npz")
    for path in ("\ud800.npz", "a\0b"):
        with pytest.raises(TraceError, match=r"the file is '.*', expected the path of a trace"):
            Trace.load(path)
    for file in (5, None, b"x"):
        with pytest.raises(TraceError, match=rf"the file is {file!r}, expected a path or a file that is open"):
            Trace.load(file)


def zipped(entries, name: str, data: bytes) -> io.BytesIO:
    """The file of a trace with other bytes under one name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, array in entries.items():
            if other != name:
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{other}.npy", buffer.getvalue())
        archive.writestr(f"{name}.npy", data)
    file.seek(0)
    return file


def test_a_bomb_is_never_unpacked(entries):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (3, 3, 3, 4, 10**12)}
    )
    with pytest.raises(TraceError, match="expected plain rows of numbers"):
        Trace.load(zipped(entries, "z", header.getvalue()))
    bomb = zipped(entries, "z", bytes(20_000_000))
    assert len(bomb.getvalue()) < 100_000
    with pytest.raises(TraceError, match="bytes unpacked, expected at most 10,000,000"):
        Trace.load(bomb, max_bytes=10_000_000)
    with pytest.raises(TraceError, match="outcome is 20,000,000 bytes long, expected at most 10,000,000"):
        Trace.load(zipped(entries, "outcome", bytes(20_000_000)), max_bytes=80_000_000)


def test_an_entry_that_stands_twice_is_refused(entries):
    file = packed(entries)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("z.npy", b"")
    with pytest.raises(TraceError, match=r"2 entries 'z\.npy', expected each array of a trace once"):
        Trace.load(file)


def test_nothing_but_trace_errors_come_out_of_damaged_files(model, tmp_path):
    rng = random.Random(0)
    whole = saved(
        recorded(model, Recipe("generate", ("a",), dataclasses.replace(SETTINGS, max_new_tokens=4))), tmp_path
    )
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        # most of what matters stands at both ends: the first header and the zip directory
        zone = rng.choice([range(len(data)), range(400), range(len(data) - 1500, len(data))])
        match rng.randrange(3):
            case 0:
                for _ in range(rng.randint(1, 6)):
                    data[rng.choice(zone)] = rng.randrange(256)
            case 1:
                del data[rng.choice(zone) :]
            case 2:
                at = rng.choice(zone)
                data[at:at] = rng.randbytes(rng.randint(1, 30))
        try:
            assert Trace.load(io.BytesIO(data)).recipe.operation == "generate"
        except TraceError as error:
            assert str(error).startswith("trace: ")
            refused += 1
    assert refused > 250
