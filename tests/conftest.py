"""Fixtures for every test: databases on both engines, and the product alive."""

pytest_plugins = ["tests.databases", "tests.living"]
