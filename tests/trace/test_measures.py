"""Measures on paths and words whose answers are known, and the same alone and in a batch."""

import dataclasses
import itertools

import numpy as np
import pytest

from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.trace import measures
from coladlm.trace.measures import MeasureError


def path_of(points: np.ndarray) -> np.ndarray:
    """(S + 1, d) -> the path (S + 1, 1, d) of one position."""
    return np.asarray(points, dtype=np.float64)[:, None, :]


def circle(radius: float, angles: np.ndarray, dimensions: int = 5) -> np.ndarray:
    """Points on a circle in a tilted plane of a space of more dimensions."""
    first = np.ones(dimensions) / np.sqrt(dimensions)
    second = np.zeros(dimensions)
    second[:2] = [np.sqrt(0.5), -np.sqrt(0.5)]
    return path_of(7 + radius * (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second))


LINE = path_of(np.array([0.0, 0.1, 0.5, 0.55, 1.0])[:, None] * np.array([3.0, 0.0, 4.0]))


def test_a_straight_line_has_straightness_1_and_no_curvature():
    assert measures.straightness(LINE) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(measures.curvature(LINE), 0.0, atol=1e-12)
    np.testing.assert_allclose(measures.turning(LINE), 0.0, atol=1e-6)


def test_lengths_along_a_line_are_those_of_its_steps():
    np.testing.assert_allclose(measures.step_lengths(LINE)[:, 0], [0.5, 2.0, 0.25, 2.25])
    np.testing.assert_allclose(measures.travelled(LINE)[:, 0], [0.0, 0.5, 2.5, 2.75, 5.0])
    np.testing.assert_allclose(measures.path_length(LINE), [5.0])


@pytest.mark.parametrize("radius", [0.01, 1.0, 250.0])
def test_a_circle_has_curvature_1_over_r_however_it_is_sampled(radius):
    angles = np.array([0.0, 0.1, 0.15, 0.7, 1.2, 2.5])
    np.testing.assert_allclose(measures.curvature(circle(radius, angles)), 1 / radius, rtol=1e-6)


def test_half_a_circle_has_straightness_half_pi():
    half = circle(2.0, np.linspace(0, np.pi, 2001))
    assert measures.straightness(half) == pytest.approx(np.pi / 2, rel=1e-5)


def test_equal_chords_of_a_circle_turn_by_their_angle():
    turning = measures.turning(circle(3.0, np.radians(np.arange(0, 100, 10.0))))
    np.testing.assert_allclose(turning, 10.0, rtol=1e-9)


def test_a_path_that_goes_back_turns_by_180_degrees():
    back = path_of([[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
    np.testing.assert_allclose(measures.turning(back), 180.0)
    assert measures.straightness(back) == pytest.approx(3.0)


def test_a_closed_path_has_no_straightness():
    assert measures.straightness(path_of([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])) == np.inf


def test_a_pinned_position_is_straight_slow_and_without_curvature():
    still = np.tile([[[1.0, 2.0, 3.0]]], (5, 1, 1))
    assert measures.straightness(still) == 1.0
    assert measures.path_length(still) == 0.0
    assert not measures.curvature(still).any()
    assert not measures.turning(still).any()
    assert not measures.speed(still, np.zeros((5, 1))).any()


def test_speed_of_a_line_walked_evenly_in_time_is_the_distance_of_its_ends():
    times = np.array([1000.0, 900.0, 500.0, 450.0, 0.0])[:, None]
    np.testing.assert_allclose(measures.speed(LINE, times), 5.0, rtol=1e-12)


def test_speed_of_an_euler_step_is_the_size_of_the_velocity():
    velocity = np.array([2.0, -1.0, 2.0])
    path = path_of([[1.0, 1.0, 1.0], np.ones(3) - 0.25 * velocity])
    np.testing.assert_allclose(measures.speed(path, [[1000.0], [750.0]]), 3.0)


def test_distance_to_the_end_falls_to_zero_along_a_line():
    np.testing.assert_allclose(measures.distance_to_end(LINE)[:, 0], [5.0, 4.5, 2.5, 2.25, 0.0])


def test_distance_to_a_goal():
    np.testing.assert_allclose(measures.distance_to(LINE, [[0.0, 12.0, 0.0]])[-1], 13.0)


@pytest.mark.parametrize(
    ("words", "settled"),
    [([5, 5, 5, 5], 0), ([1, 5, 5, 5], 1), ([5, 1, 5, 5], 2), ([5, 5, 5, 1], 3), ([1, 2, 3, 4], 3)],
)
def test_a_word_is_settled_from_where_it_stays_to_the_end(words, settled):
    assert measures.settled_step(np.array(words)[:, None]) == [settled]


@pytest.mark.parametrize(("final", "settled"), [(5, 1), (1, 4), (9, 4)])
def test_a_word_is_settled_by_what_was_chosen_in_the_end(final, settled):
    assert measures.settled_step(np.array([1, 5, 5, 5])[:, None], [final]) == [settled]


def test_guidance_of_known_velocities():
    conditional, unconditional = np.array([[[1.0, 1.0]]]), np.array([[[1.0, 0.0]]])
    guided = unconditional + 3 * (conditional - unconditional)
    found = measures.guidance_measures(conditional, unconditional, guided)
    np.testing.assert_allclose(found.conditional, np.sqrt(2))
    np.testing.assert_allclose(found.unconditional, 1.0)
    np.testing.assert_allclose(found.guided, np.sqrt(10))
    np.testing.assert_allclose(found.pull, 1.0)
    np.testing.assert_allclose(found.angle, 45.0)
    np.testing.assert_allclose(found.turn, np.degrees(np.arctan(3.0)))


def test_velocities_that_were_never_computed_have_no_angle():
    nothing, something = np.full((1, 1, 2), np.nan), np.ones((1, 1, 2))
    assert np.isnan(measures.guidance_measures(nothing, nothing, something).angle).all()
    assert np.isnan(measures.guidance_measures(np.zeros((1, 1, 2)), something, something).angle).all()


def test_small_angles_are_exact():
    assert measures.angle([1.0, 0.0], [np.cos(1e-9), np.sin(1e-9)]) == pytest.approx(np.degrees(1e-9), rel=1e-6)


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "path": rng.normal(size=(3, 2, 7, 4, 5)).astype(np.float32),
        "times": np.broadcast_to(np.linspace(1000, 0, 7)[:, None], (3, 2, 7, 4)).copy(),
        "words": rng.integers(0, 3, size=(3, 2, 7, 4)),
    }


def everything(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    path = data["path"]
    guidance = measures.guidance_measures(path, path[..., ::-1, :, :], 2 * path)
    return {
        **dataclasses.asdict(guidance),
        "settled": measures.settled_step(data["words"]),
        "travelled": measures.travelled(path),
        "straightness": measures.straightness(path),
        "speed": measures.speed(path, data["times"]),
        "curvature": measures.curvature(path),
        "turning": measures.turning(path),
        "distance": measures.distance_to_end(path),
    }


def test_a_sequence_measures_the_same_alone_and_in_a_batch(batch):
    together = everything(batch)
    for sequence in range(3):
        for name, alone in everything({key: value[sequence] for key, value in batch.items()}).items():
            np.testing.assert_array_equal(together[name][sequence], alone, err_msg=name)


def test_a_position_measures_the_same_alone_and_among_others(batch):
    together = everything(batch)
    one = everything({"path": batch["path"][0, 0][:, 2:3], "times": batch["times"][0, 0][:, 2:3],
                      "words": batch["words"][0, 0][:, 2:3]})  # fmt: skip
    for name, alone in one.items():
        np.testing.assert_array_equal(together[name][0, 0][..., 2:3], alone, err_msg=name)


@pytest.mark.parametrize(
    ("call", "note"),
    [
        (lambda: measures.path_length(np.zeros((2, 3))), "path has 2 axes, expected at least 3"),
        (lambda: measures.path_length(np.zeros((0, 2, 3))), r"path has shape \(0, 2, 3\)"),
        (lambda: measures.speed(LINE, np.zeros((2, 1))), r"times has shape \(2, 1\), expected \(\.\.\., 5, 1\)"),
        (lambda: measures.distance_to(LINE, np.zeros((2, 3))), r"goal has shape \(2, 3\)"),
        (lambda: measures.guidance_measures(LINE, LINE, LINE[1:]), "expected three of one shape"),
        (lambda: measures.settled_step(np.zeros((0, 3))), "no step and there is no final word"),
        (lambda: measures.settled_step(np.zeros((2, 3)), np.zeros(2)), r"final has shape \(2,\), expected \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_sentence(call, note):
    with pytest.raises(MeasureError, match=note):
        call()


def traced(model, texts, variations=1, events=None, **settings):
    """The trace of a run, or of its first `events` events."""
    settings = {"steps": 5, "guidance": 3.0, "max_new_tokens": 12, "stop_at_end": False, **settings}
    recipe = Recipe("generate", tuple(texts), SamplerSettings(**settings), variations)
    record = recorder(recipe, dtype="float32")
    for _ in itertools.islice(record.watch(run(model, recipe)), events):
        pass
    return record.trace()


@pytest.fixture(scope="module")
def trace(model):
    return traced(model, ["Once upon a time there was a little", "The cat sat"])


def test_a_trace_measures_its_paths_to_the_finished_latents(trace):
    found = measures.measure(trace)
    assert found.path.shape == (*trace.z.shape[:2], 6, 4, 8)
    written = trace.active
    np.testing.assert_array_equal(found.path[written][:, :-1], trace.z[written])
    np.testing.assert_array_equal(found.path[written][:, -1], trace.latents[written])
    assert np.isnan(found.path[~written]).all()
    np.testing.assert_allclose(found.times[1, 1, :, 0], [1000, 800, 600, 400, 200, 0])


def test_the_speed_of_an_euler_run_is_the_size_of_its_velocity(trace):
    found, moving = measures.measure(trace), trace.t > 0
    sizes = np.linalg.norm(trace.velocity, axis=-1)
    active = np.broadcast_to(trace.active[:, :, None, None], moving.shape)
    np.testing.assert_allclose(found.speed[moving & active], sizes[moving & active], rtol=1e-3)
    np.testing.assert_array_equal(found.speed[~moving & active], 0.0)


def test_guidance_is_measured_only_where_there_was_any(trace):
    found = measures.measure(trace).guidance
    guided = np.broadcast_to((trace.active[:, :, None] & trace.guided)[..., None], found.angle.shape)
    assert guided.any()
    assert np.isfinite(found.angle[guided]).all()
    assert np.isnan(found.angle[~guided]).all()


def test_guidance_of_a_trace_without_it_is_nan(model):
    found = measures.measure(traced(model, ["The cat sat"], guidance=1.0)).guidance
    assert np.isnan(found.pull).all()
    assert np.isfinite(found.guided).all()


def test_a_chosen_word_is_what_the_preview_reads_from_its_settled_step_on(trace):
    settled = measures.measure(trace).settled
    for where in np.argwhere(trace.token_ids >= 0):
        sequence, block, token = where
        words, step = trace.preview_ids[sequence, block, :, token], settled[tuple(where)]
        assert (words[step:] == trace.token_ids[tuple(where)]).all()
        assert step == 0 or words[step - 1] != trace.token_ids[tuple(where)]


def test_a_stopped_run_is_measured_as_far_as_it_came(model, trace):
    stopped = traced(model, ["Once upon a time there was a little", "The cat sat"], events=9)
    assert stopped.stopped
    found, whole = measures.measure(stopped), measures.measure(trace)
    np.testing.assert_array_equal(found.path[:, 0], whole.path[:, 0])
    np.testing.assert_array_equal(found.path[:, 1, :3], whole.path[:, 1, :3])
    assert np.isnan(found.path[:, 1, 3:]).all()
    assert np.isnan(found.straightness[:, 1]).all()
    assert (found.settled[:, 1] == -1).all()


def test_a_sequence_of_a_trace_measures_the_same_alone(model, trace):
    together = measures.measure(trace)
    alone = measures.measure(traced(model, ["The cat sat"]))
    for name in ("speed", "curvature", "straightness", "distance_to_end"):
        blocks = getattr(alone, name).shape[1]
        np.testing.assert_allclose(
            getattr(together, name)[1, :blocks], getattr(alone, name)[0], rtol=1e-3, atol=1e-3, err_msg=name
        )
