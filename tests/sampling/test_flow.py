"""Solvers and grids on flows whose answer is known."""

import itertools
import math

import pytest
import torch

from coladlm.sampling import flow


@pytest.mark.parametrize("name", flow.GRIDS)
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_grid_falls_from_noise_to_data(name, shift):
    grid = flow.time_grid(name, 12, shift)
    assert len(grid) == 13
    assert grid[0] == 1000.0 and grid[-1] == 0.0
    assert all(a > b for a, b in itertools.pairwise(grid))


def test_the_linear_grid_is_linspace():
    assert flow.time_grid("linear", 6) == pytest.approx(torch.linspace(1000, 0, 7).tolist())


def test_a_shift_above_one_spends_more_steps_at_high_noise():
    assert sum(t > 500 for t in flow.time_grid("linear", 16, 3.0)) > sum(t > 500 for t in flow.time_grid("linear", 16))


def test_staggered_positions_start_and_end_one_after_another():
    rows = flow.staggered_grid("cosine", 12, 2.0, 4, 1.0)
    assert rows[0] == [1000.0] * 4 and rows[-1] == [0.0] * 4
    for place in range(4):  # each has its own three steps, on the grid of three steps
        assert [row[place] for row in rows[3 * place : 3 * place + 4]] == pytest.approx(
            flow.time_grid("cosine", 3, 2.0)
        )
        assert all(row[place] == 1000.0 for row in rows[: 3 * place + 1])
        assert all(row[place] == 0.0 for row in rows[3 * place + 3 :])


@pytest.mark.parametrize("stagger", [0.0, 0.1, 1 / 3, 0.77])
@pytest.mark.parametrize("positions", [1, 3, 16])
def test_all_positions_come_from_noise_to_data_whatever_the_stagger(positions, stagger):
    rows = flow.staggered_grid("linear", 7, 1.5, positions, stagger)
    assert rows[0] == [1000.0] * positions and rows[-1] == [0.0] * positions
    for row, after in itertools.pairwise(rows):
        assert all(a <= b for a, b in itertools.pairwise(row))
        assert all(a >= b for a, b in zip(row, after, strict=True)) and row != after


def test_without_stagger_all_positions_have_the_time_grid():
    rows = flow.staggered_grid("quadratic", 9, 3.0, 4, 0.0)
    assert rows == [[t] * 4 for t in flow.time_grid("quadratic", 9, 3.0)]


def integrate(solver: str, steps: int, backwards: bool = False) -> float:
    """Error at the end of dz/ds = a z over s from 1 to 0 (or 0 to 1), in float64."""
    grid = flow.time_grid("linear", steps)
    grid = grid[::-1] if backwards else grid
    a, z = 1.3, torch.ones(1, dtype=torch.float64)
    for t, t_next in itertools.pairwise(grid):
        v = flow.SOLVERS[solver](lambda z, t: a * z, z, a * z, t, t_next)
        z = flow.advance(z, v, t, t_next)
    return abs(float(z) - math.exp(a if backwards else -a))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_solvers_have_their_order_in_both_directions_of_time(solver, order, backwards):
    coarse, fine = integrate(solver, 20, backwards), integrate(solver, 40, backwards)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("solver", flow.SOLVERS)
def test_every_time_that_a_solver_asks_for_is_announced(solver):
    grid = flow.time_grid("cosine", 5)
    asked = set(grid[:-1])

    def velocity(z, t):
        asked.add(t)
        return z

    z = torch.ones(1)
    for t, t_next in itertools.pairwise(grid):
        flow.SOLVERS[solver](velocity, z, z, t, t_next)
    assert asked <= set(flow.evaluation_times(solver, grid))


@pytest.mark.parametrize("solver", flow.SOLVERS)
def test_the_inverse_of_a_solver_undoes_its_step(solver):
    def velocity(z, t):
        return torch.sin(2 * z) * (1 + t / 1000)

    step, back = flow.SOLVERS[solver], flow.inverse(flow.SOLVERS[solver], 30)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    y = flow.advance(z, back(velocity, z, velocity(z, 300.0), 300.0, 400.0), 300.0, 400.0)
    again = flow.advance(y, step(velocity, y, velocity(y, 400.0), 400.0, 300.0), 400.0, 300.0)
    assert torch.allclose(again, z, atol=1e-12)


def test_a_pinned_position_stays_where_it_is_and_a_half_noised_one_goes_half_the_way():
    z, v = torch.randn(3, 4), torch.randn(3, 4)
    scale = torch.tensor([0.0, 0.5, 1.0])[:, None]
    moved = flow.advance(z, v, 1000.0, 600.0, scale)
    assert torch.equal(moved[0], z[0])
    assert torch.allclose(moved[1], z[1] - 0.2 * v[1])
    assert torch.allclose(moved[2], z[2] - 0.4 * v[2])


def test_the_estimates_are_the_ends_of_a_straight_flow():
    clean, noise, t = torch.randn(5, 4), torch.randn(5, 4), torch.tensor([0.0, 100.0, 500.0, 900.0, 1000.0])
    z = flow.interpolant(clean, noise, t)
    assert torch.allclose(flow.clean_estimate(z, noise - clean, t), clean, atol=1e-6)
    assert torch.allclose(flow.noise_estimate(z, noise - clean, t), noise, atol=1e-6)


def test_a_stochastic_step_without_fresh_noise_is_the_euler_step():
    z, v, t, t_next = torch.randn(3, 4), torch.randn(3, 4), torch.full((3,), 700.0), torch.full((3,), 500.0)
    plain = flow.advance(z, v, 700.0, 500.0)
    assert torch.allclose(flow.stochastic_step(z, v, t, t_next, 0.0, torch.randn(3, 4)), plain, atol=1e-6)


def test_a_fully_stochastic_step_forgets_the_old_noise():
    clean, t, t_next = torch.randn(1, 4), torch.tensor([800.0]), torch.tensor([400.0])
    fresh = torch.randn(1, 4)
    ends = [
        flow.stochastic_step(flow.interpolant(clean, noise, t), noise - clean, t, t_next, 1.0, fresh)
        for noise in torch.randn(2, 1, 4)
    ]
    assert torch.allclose(ends[0], ends[1], atol=1e-6)
    assert torch.allclose(ends[0], 0.6 * clean + 0.4 * fresh, atol=1e-6)


def test_guidance_of_one_is_the_conditional_and_of_zero_the_unconditional_velocity():
    c, u = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(flow.guide(c, u, torch.tensor(1.0)), c)
    assert torch.equal(flow.guide(c, u, torch.tensor(0.0)), u)
    assert torch.allclose(flow.guide(c, u, torch.tensor(7.0)), u + 7 * (c - u))
