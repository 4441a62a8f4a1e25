"""What the DiT is trained for: which noise it sees, in which blocks, and what counts how much in the loss."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class DiTObjective:
    time_location: float | None = None  # of the logit-normal times; 1 + 0.5 ln(d / 16) if None
    time_scale: float = 1.0
    times: int = 128  # distinct times in a batch, stratified
    copies: int = 1  # noisy copies of each row, which share its clean one
    history_noise: float = 0.1  # sizes are drawn uniformly from 0 to this for each row
    history_dropped: float = 0.1  # share of rows whose noisy blocks see themselves alone
    pinned_blocks: float = 0.125  # share of blocks with clean positions at t = 0
    staggered_blocks: float = 0.75  # share of blocks whose positions follow one another (the sampler's `stagger`)
    stagger_shift: float = 2.0  # of the time grid on which they do
    single_rows: float = 0.0  # share of rows whose blocks are of one position: each is learned after all before it
    wide_rows: float = 0.0  # share of rows whose blocks are of a size in WIDE times the network's own
    head_weight: float = 0.1  # of the cross-entropy of the token head; 0: no head
    head_share: float = 0.5  # share of positions that the head reads
    next_weight: float = 0.0  # of the next-token loss on the clean copy; 0: no head for it
    next_share: float = 0.5  # share of the positions where it applies that are read
    taught: float = 0.8  # share of the exact denoiser in what is to be predicted, where there is one and it is exact

    def __post_init__(self) -> None:
        if not 0 <= self.taught <= 1:
            raise ValueError(f"taught is {self.taught}, expected 0 to 1")
        if self.single_rows + self.wide_rows > 1:
            raise ValueError(f"single_rows is {self.single_rows} and wide_rows is {self.wide_rows}, "
                             "expected shares of at most 1 together")  # fmt: skip
