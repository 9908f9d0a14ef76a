"""Builders, fakes and checkers for tests: the project's own, and those of people who extend Rove."""
