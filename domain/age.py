"""How old somebody is, in whole years."""

from datetime import date


def age_on(birth_date: date, day: date) -> int:
    """Whole years between birth and the given day, in the calendar of the place where the day is.

    Who is born on 29 February turns a year older on 1 March in common years. Negative before the birth.
    """
    birthday_to_come = (day.month, day.day) < (birth_date.month, birth_date.day)
    return day.year - birth_date.year - birthday_to_come
