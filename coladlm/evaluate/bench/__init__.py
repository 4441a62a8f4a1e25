"""The bench: what a model does well and at what cost, as tables with confidence intervals that one command makes.

`results` is the form of a result, `intervals` the bootstrap, `item_log` what lets a stopped run go on, `picture` draws
a result. Every other module is a part of the bench, listed in PARTS of `coladlm.cli.bench`.
"""
