"""The slots of the DiT's cache: sequences of any lengths beside each other, each as it is alone."""

import pytest
import torch

from coladlm.networks.layers import attention, block_causal_mask
from coladlm.networks.slot_cache import HALVED, PIECE, SPAN, BlockAttention, SlotCache, additive, bucket

B, HEADS, WIDTH = 2, 2, 4  # of a block, heads, channels of a head


def small_cache(rows: int, capacity: int = 8) -> SlotCache:
    return SlotCache(1, HEADS, WIDTH, rows, capacity, B, torch.float32, "cpu")


def texts(lengths: list[int]) -> list[torch.Tensor]:
    """Queries, keys and values of a clean text of each length, and of its next block twice: alone, after the text."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(3, length + 2 * B, HEADS, WIDTH, generator=draw) for length in lengths]


def filled(lengths: list[int], capacity: int = 8) -> tuple[SlotCache, list[torch.Tensor]]:
    """A cache that holds these texts, read right-aligned in one pass, and the texts."""
    made, end = texts(lengths), max(lengths)
    cache = small_cache(len(lengths), capacity)
    rows = [
        torch.cat((torch.full((3, end - n, HEADS, WIDTH), 9.0), x[:, :n]), 1)
        for n, x in zip(lengths, made, strict=True)
    ]
    cache.place(torch.arange(end) - (end - torch.tensor(lengths))[:, None])
    out = cache(0, *torch.stack(rows, 1))
    for row, (n, x) in enumerate(zip(lengths, made, strict=True)):
        wanted = attention(*x[:, None, :n], block_causal_mask(n, B))[0]
        torch.testing.assert_close(out[row, end - n :], wanted)
    return cache, made


def check_step(cache: SlotCache, made: list[torch.Tensor], lengths: list[int], history: int, in_one: bool) -> None:
    """A guided step through the cache equals attention over the text and its block, and over the block alone."""
    attend = BlockAttention(cache, torch.tensor(lengths), history, True, in_one)
    out = attend(0, *torch.stack([x[:, n:] for n, x in zip(lengths, made, strict=True)], 1))
    for row, (n, x) in enumerate(zip(lengths, made, strict=True)):
        alone, guided = x[:, None, n : n + B], x[:, None, n + B :]
        torch.testing.assert_close(out[row, :B], attention(*alone)[0])
        k, v = (torch.cat((past[:, :n], own), 1) for past, own in ((x[None, 1], guided[1]), (x[None, 2], guided[2])))
        torch.testing.assert_close(out[row, B:], attention(guided[0], k, v)[0])


@pytest.mark.parametrize("in_one", [True, False], ids=["one attention", "two"])
@pytest.mark.parametrize(("lengths", "history"), [([4], 4), ([4, 4], 6), ([2, 6, 4], 6), ([6, 2], 8)])
def test_a_step_sees_the_history_of_its_own_row_and_nothing_else(lengths, history, in_one):
    cache, made = filled(lengths)
    check_step(cache, made, lengths, history, in_one)


def test_an_unguided_step_needs_its_block_once():
    cache, made = filled([2, 4])
    q, k, v = torch.stack([made[0][:, 2:4], made[1][:, 4:6]], 1)
    out = BlockAttention(cache, torch.tensor([2, 4]), 4, False)(0, q, k, v)
    for row, n in enumerate((2, 4)):
        x = made[row][:, None, : n + B]
        torch.testing.assert_close(out[row], attention(x[0, :, n:], x[1], x[2])[0])


def test_rows_keep_their_history_when_others_leave_and_join():
    cache, made = filled([2, 6, 4])
    memory = cache.k.data_ptr()
    cache.keep([2, 1])
    made = [made[2], made[1]]
    check_step(cache, made, [4, 6], 6, True)
    other, more = filled([4, 2])
    joined = cache.join(other, SPAN + 2)
    assert (joined.rows, joined.capacity, len(joined.k[0])) == (4, 2 * SPAN, 4)
    check_step(joined, [*made, *more], [4, 6, 4, 2], 6, True)
    joined.keep([0, 1, 3])
    assert joined.join(small_cache(1), 8) is joined  # there is room
    assert cache.k.data_ptr() == memory


def test_a_cache_with_far_too_much_room_is_replaced_by_a_smaller_one():
    large, few = SlotCache(1, 2, 4, 16, 500, B, torch.float32, "cpu"), filled([2, 4])
    large.rows = 0
    joined = large.join(few[0], SPAN)
    assert (joined.rows, len(joined.k[0]), joined.capacity) == (2, 2, SPAN) and joined.nbytes < large.nbytes / 16
    check_step(joined, few[1], [2, 4], 6, True)
    assert large.join(few[0], 250) is not large  # two slots of sixteen, and half of their length
    assert large.join(SlotCache(1, 2, 4, 9, 4, B, torch.float32, "cpu"), 500) is large


def test_a_position_outside_the_cache_is_refused():
    for first in (-2, SPAN):
        with pytest.raises(ValueError, match=f"position {first + 1} does not lie in a cache of {SPAN}"):
            small_cache(1).place(torch.arange(first, first + 2)[None])


def test_a_cpu_looks_at_numbers_of_places_over_which_sums_keep_their_order():
    cache = small_cache(1, SPAN + 1)
    assert (cache.lead, cache.capacity) == (SPAN, 2 * SPAN)
    assert [cache.span(n) for n in (0, 1, SPAN, SPAN + 1)] == [0, SPAN, SPAN, 2 * SPAN]
    few, many = HALVED
    assert [cache.span(n) for n in (few, few + 1, many, many + 1)] == [few, many, many, many + SPAN]
    assert [cache.span(PIECE + n) for n in (0, 1, few + 1, many + 1)] == [
        PIECE, PIECE + SPAN, PIECE + many, PIECE + many + SPAN
    ]  # fmt: skip
    assert [cache.span(n, SPAN) for n in (few - SPAN, few - SPAN + 1)] == [few - SPAN, many - SPAN]
    for capacity in (few - SPAN, few - SPAN + 1, few, few + 1, many):
        larger = small_cache(1, capacity)  # room for a clean pass and for a step
        assert larger.capacity >= max(larger.span(capacity), larger.span(capacity, larger.before(2)))


@pytest.mark.parametrize("block_size", [4, 8, 16])
@pytest.mark.parametrize("length", [0, 16, 48, 144])
def test_a_row_is_the_same_to_the_last_bit_beside_longer_ones(block_size, length):
    """Two attentions, and a step that is not guided, multiply fewer rows at once, which may take another kernel: they
    are the same up to rounding.
    """
    draw = torch.Generator().manual_seed(length)
    x = torch.randn(3, length + 2 * block_size, 2, 64, generator=draw)

    def step(others: list[int], history: int, guided: bool, in_one: bool) -> torch.Tensor:
        lengths = [length, *others]
        cache = SlotCache(1, 2, 64, len(lengths), max(history, 1), block_size, torch.float32, "cpu")
        rows = [x, *(torch.randn(3, n + 2 * block_size, 2, 64, generator=draw) for n in others)]
        for row, (n, (_, k, v)) in enumerate(zip(lengths, rows, strict=True)):
            for kept, new in ((cache.k, k), (cache.v, v)):
                kept[0, row, :, cache.lead : cache.lead + n] = new[:n].transpose(0, 1)
        attend = BlockAttention(cache, torch.tensor(lengths), history, guided, in_one)
        blocks = [row[:, n + (0 if guided else block_size) :] for n, row in zip(lengths, rows, strict=True)]
        return attend(0, *torch.stack(blocks, 1))[0]

    alone = step([], length, True, True)
    for others in ([0, 96], [160], [32, 160, 144]):
        longest = max(length, *others)
        assert torch.equal(step(others, longest, True, True), alone)
        torch.testing.assert_close(step(others, longest, True, False), alone)
        torch.testing.assert_close(step(others, longest, False, True), alone[block_size:])


def test_masks_and_buckets():
    assert additive(torch.tensor([True, False]), torch.zeros(1)).tolist() == [0, -torch.inf]
    assert [bucket(n) for n in (1, 2, 3, 5, 32, 33)] == [1, 2, 4, 8, 32, 64]
