"""Speed and memory, each module a script that prints a table: python -m benchmarks.<name>."""
