"""Runs by id: the browser names a run, the server owns it, and whoever has the name can follow, find and stop it."""
