"""The eight tasks of the published evaluation: questions that a model answers in writing after a few examples.

`data` reads them, `scoring` says which answers are right, `answering` lets a model answer, `report` makes the tables.
"""
