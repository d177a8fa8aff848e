"""Fixtures for every test: databases on both engines, Redis, and the product alive."""

pytest_plugins = ["tests.planted", "tests.databases", "tests.living", "tests.redises"]
