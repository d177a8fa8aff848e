"""Fixtures for every test: databases on both engines, Redis, and the product alive."""

pytest_plugins = ["tests.databases", "tests.living", "tests.redises"]
