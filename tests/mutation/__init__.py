"""Mistakes made on purpose, one by one, which the tests must find."""
