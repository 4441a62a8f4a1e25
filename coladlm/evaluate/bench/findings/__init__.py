"""What follows from the results of the bench, in words: every sentence is made from tables, so that it can be made anew
from a result that is kept, without measuring again (`python -m coladlm.evaluate.bench.retell`).
"""
