"""What each of many has of something there is not enough of for everybody to have all."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LEAST = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody, and of which place: an address, or an agency's server. `name` is None for whom that does not name."""

    name: str | None
    of: str


class Shares:
    """A tenth of all there is for each who is named, half for all of one place, and `LEAST` where that is more: so
    neither one alone nor one place can leave nothing to others.

    Who has the same thing several times has it once.
    """

    def __init__(self, most: int) -> None:
        self._each, self._together = max(most // 10, LEAST), max(most // 2, LEAST)
        self._had: dict[Hashable, Counter[Hashable]] = {}
        self._owners: Counter[Hashable] = Counter()

    def admits(self, owner: Owner, thing: Hashable) -> bool:
        had = [(self._had.get(who, ()), share) for who, share in self._sharing(owner)]
        return all(thing in has or len(has) < share for has, share in had)

    def have_none_of(self, thing: Hashable) -> bool:
        """Whether nobody has it."""
        return thing not in self._owners

    @contextmanager
    def with_one_more(self, owner: Owner, thing: Hashable) -> Iterator[None]:
        """The owner has it until the block ends. Whether it is more than their share is asked before."""
        sharing = {who: self._had.setdefault(who, Counter()) for who, _ in self._sharing(owner)}
        counters = (*sharing.values(), self._owners)
        for counter in counters:
            counter[thing] += 1
        try:
            yield
        finally:
            for counter in counters:
                counter[thing] -= 1
                if not counter[thing]:
                    del counter[thing]
            for who, has in sharing.items():
                if not has:
                    self._had.pop(who, None)

    def _sharing(self, owner: Owner) -> Iterator[tuple[Hashable, int]]:
        """Whoever has what the owner has, and as how much."""
        yield ("place", owner.of), self._together
        if owner.name is not None:
            yield ("name", owner.name), self._each
