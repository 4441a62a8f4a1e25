"""Structured generation: a tiny Cola-DLM, its VAE alone and a transformer of equal size on tasks with strict rules.

`writers` lets each answer, `holes` fills one bracket in the middle, `answers` keeps what was answered, `scores` counts,
`report` makes tables, charts and sentences of the counts.
"""
