"""Where latent diffusion could win: holes, early drafts, directions, words that must stay. Each beside a transformer.

`passages` draws what is asked, `filling` lets both models fill patterns of free and pinned tokens, `holes`, `drafts`,
`directions` and `pins` are the four questions, `verdicts` says who wins by paired intervals.
"""
