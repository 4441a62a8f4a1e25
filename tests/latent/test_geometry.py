"""What must hold on the sphere of posterior means, and for noise."""

import math

import pytest
import torch

from coladlm.latent import geometry

D = 16


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return geometry.project(torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed)))


def assert_on_sphere(x: torch.Tensor) -> None:
    assert float(x.double().mean(-1).abs().max()) < 1e-6
    assert float((x.double().square().mean(-1) - 1).abs().max()) < 1e-6


def test_projection_lands_on_the_sphere_and_stays_there():
    x = geometry.project(5 + 3 * torch.randn(40, 7, D, generator=torch.Generator().manual_seed(1)))
    assert_on_sphere(x)
    torch.testing.assert_close(geometry.project(x), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_layer_norm_means_are_points_of_the_sphere(channels):
    x = 10 * torch.randn(50, channels, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.layer_norm(x, (channels,), eps=1e-6)
    torch.testing.assert_close(geometry.project(x), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_slerp_stays_on_the_sphere(weight):
    assert_on_sphere(geometry.slerp(points(200), points(200, seed=1), weight))


def test_slerp_begins_and_ends_at_its_points():
    a, b = points(200), points(200, seed=1)
    torch.testing.assert_close(geometry.slerp(a, b, 0.0), a, rtol=0, atol=1e-6)
    torch.testing.assert_close(geometry.slerp(a, b, 1.0), b, rtol=0, atol=1e-6)


def test_slerp_is_symmetric():
    a, b = points(200), points(200, seed=1)
    torch.testing.assert_close(geometry.slerp(a, b, 0.3), geometry.slerp(b, a, 0.7), rtol=0, atol=1e-6)


def test_slerp_goes_in_equal_angles():
    a, b = points(50), points(50, seed=1)
    road = torch.stack([geometry.slerp(a, b, w / 8) for w in range(9)])
    steps = geometry.angle(road[:-1], road[1:])
    torch.testing.assert_close(steps, (geometry.angle(a, b) / 8).expand_as(steps), rtol=0, atol=1e-5)


def test_slerp_takes_a_weight_for_each_point():
    a, b, weights = points(5), points(5, seed=1), torch.linspace(0, 1, 5)
    alone = torch.stack([geometry.slerp(x, y, float(w)) for x, y, w in zip(a, b, weights, strict=True)])
    torch.testing.assert_close(geometry.slerp(a, b, weights), alone, rtol=0, atol=1e-6)


def test_slerp_of_equal_points_is_that_point():
    a = points(100)
    torch.testing.assert_close(geometry.slerp(a, a.clone(), 0.4), a, rtol=0, atol=1e-6)


def test_slerp_of_opposite_points_is_a_half_circle_and_symmetric():
    a = points(100)
    middle = geometry.slerp(a, -a, 0.5)
    assert_on_sphere(middle)
    torch.testing.assert_close(geometry.angle(a, middle), torch.full((100,), math.pi / 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(geometry.slerp(a, -a, 0.2), geometry.slerp(-a, a, 0.8), rtol=0, atol=1e-6)
    torch.testing.assert_close(geometry.slerp(a, -a, 1.0), -a, rtol=0, atol=1e-6)


def test_weighted_mean_of_two_is_slerp():
    a, b = points(50), points(50, seed=1)
    mean = geometry.weighted_mean(torch.stack((a, b)), torch.tensor([0.7, 0.3]))
    torch.testing.assert_close(mean, geometry.slerp(a, b, 0.3), rtol=0, atol=1e-6)


def test_weighted_mean_lies_on_the_sphere_whatever_the_order():
    x, w = points(5, 30), torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15])
    mean = geometry.weighted_mean(x, w)
    assert_on_sphere(mean)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(geometry.weighted_mean(x[order], w[order]), mean, rtol=0, atol=1e-5)


def test_weighted_mean_with_all_weight_on_one_is_that_one():
    x = points(4, 10)
    torch.testing.assert_close(geometry.weighted_mean(x, torch.tensor([0.0, 0.0, 2.0, 0.0])), x[2], rtol=0, atol=1e-6)


def test_weighted_mean_of_opposite_points_is_finite_and_on_the_sphere():
    a = points(10)
    assert_on_sphere(geometry.weighted_mean(torch.stack((a, -a)), torch.tensor([1.0, 1.0])))


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0], [math.inf, 1.0]])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(geometry.GeometryError, match="weights are"):
        geometry.weighted_mean(points(2, 3), torch.tensor(weights))


def test_push_stays_on_the_sphere_and_turns_45_degrees_by_one_radius():
    x, direction = points(50), points(seed=2)
    assert_on_sphere(geometry.push(x, direction, 1.5))
    torch.testing.assert_close(geometry.push(x, direction, 0.0), x, rtol=0, atol=1e-6)
    a, b = points(seed=3), points(seed=4)
    across = b - geometry.slerp(a, b, 0.0) * (a * b).sum() / (a * a).sum()
    assert float(geometry.angle(a, geometry.push(a, across, 1.0))) == pytest.approx(math.pi / 4, abs=1e-5)


def test_push_through_the_centre_stays():
    a = points(10)
    torch.testing.assert_close(geometry.push(a, -a, 1.0), a, rtol=0, atol=1e-6)


def test_distances_are_symmetric_and_agree():
    a, b = points(50), points(50, seed=1)
    torch.testing.assert_close(geometry.angle(a, b), geometry.angle(b, a))
    wanted = 2 * math.sqrt(D) * (geometry.angle(a, b) / 2).sin()
    torch.testing.assert_close(geometry.chord(a, b), wanted, rtol=1e-5, atol=1e-6)
    assert float(geometry.angle(a, a).max()) < 1e-6
    assert float((geometry.angle(a, -a) - math.pi).abs().max()) < 1e-6


def test_points_without_a_direction_are_refused():
    with pytest.raises(geometry.GeometryError, match="same value in all channels"):
        geometry.project(torch.ones(2, D))
    with pytest.raises(geometry.GeometryError, match="expected at least 3"):
        geometry.slerp(torch.ones(2), torch.ones(2), 0.5)


def test_noise_keeps_its_size_on_the_way():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2000, D, generator=g), torch.randn(2000, D, generator=g)
    middle = geometry.noise_slerp(a, b, 0.5)
    torch.testing.assert_close(middle.norm(dim=-1), (a.norm(dim=-1) + b.norm(dim=-1)) / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(geometry.noise_slerp(a, b, 0.0), a, rtol=0, atol=1e-5)
    torch.testing.assert_close(geometry.noise_slerp(a, b, 1.0), b, rtol=0, atol=1e-5)
    torch.testing.assert_close(geometry.noise_slerp(a, b, 0.3), geometry.noise_slerp(b, a, 0.7), rtol=0, atol=1e-5)


def test_noise_mean_keeps_the_mean_size():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, 20, D, generator=g), torch.tensor([1.0, 2.0, 1.0])
    wanted = (w[:, None] / 4 * x.norm(dim=-1)).sum(0)
    torch.testing.assert_close(geometry.noise_mean(x, w).norm(dim=-1), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_points_is_kept(dtype):
    a, b = points(3).to(dtype), points(3, seed=1).to(dtype)
    assert geometry.slerp(a, b, 0.5).dtype == geometry.noise_slerp(a, b, 0.5).dtype == dtype
