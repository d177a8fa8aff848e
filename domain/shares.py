"""What each of many has of something there is not enough of for everybody to have all."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

LEAST = 5


class Shares:
    """A tenth of all there is for each, and `LEAST` where that is more: so one alone cannot leave nothing to others.

    Who has the same thing several times has it once.
    """

    def __init__(self, most: int) -> None:
        self._each = max(most // 10, LEAST)
        self._had: dict[str, Counter[Hashable]] = {}
        self._owners: Counter[Hashable] = Counter()

    def admits(self, owner: str, thing: Hashable) -> bool:
        has = self._had.get(owner, ())
        return thing in has or len(has) < self._each

    def have_none_of(self, thing: Hashable) -> bool:
        """Whether nobody has it."""
        return thing not in self._owners

    @contextmanager
    def with_one_more(self, owner: str, thing: Hashable) -> Iterator[None]:
        """The owner has it until the block ends. Whether it is more than their share is asked before."""
        has = self._had.setdefault(owner, Counter())
        for counter in (has, self._owners):
            counter[thing] += 1
        try:
            yield
        finally:
            for counter in (has, self._owners):
                counter[thing] -= 1
                if not counter[thing]:
                    del counter[thing]
            if not has:
                self._had.pop(owner, None)
