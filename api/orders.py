"""What stands behind a verb of `python -m api`, where it cannot be meant."""


class OrderUnclear(Exception):
    """One line says what is wrong, and how the verb is used."""
