"""A search under observation: picture after picture of what it finds, and the steps from one to the next."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from domain.availability import Availability, SourceState
from domain.choosing import place
from domain.slot import Slot
from domain.tenant import Tenant

MOST_SLOTS = 5000
"""The soonest of what a search finds; more than any screen shows is not watched."""

KEPT_STEPS = 32
"""How far back a watch can tell what was missed."""

ANSWERING = (SourceState.OK, SourceState.STALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From one picture to the next, named by their digests. With `resync`, `opened` is all of the next one."""

    revision: int
    before: int
    digest: int
    opened: Sequence[Slot]
    taken: Sequence[Slot]
    resync: bool
    found: Availability


def digest_of(slots: Iterable[Slot]) -> int:
    """The same for the same slots in any order, in every process; 128 bits that add up slot by slot."""
    return sum(map(_digest, slots)) % 2**128


def _digest(slot: Slot) -> int:
    told = "\0".join((slot.reference, *slot.resources)).encode()
    length = int((slot.span.end - slot.span.start).total_seconds())
    return int.from_bytes(blake2b(place(slot) + length.to_bytes(4, "big") + told, digest_size=16).digest(), "big")


class Watch:
    """One search under observation. Watchers that fall too far behind are shown the whole picture again.

    `tenant` is as it was when it was last looked at, `looks` how often that was since the first time: between two looks
    nothing that a watch tells changes, while from one to the next all may, whether or not there is a step.
    """

    def __init__(self, tenant: Tenant, found: Availability) -> None:
        self.tenant = tenant
        self.revision = 0
        self.looks = 0
        self.found = found
        self.watchers = 0
        self.ended = False
        self._picture = _picture(found)
        self._digest = digest_of(self._picture.values())
        self._steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self._changed = asyncio.Event()

    def begin(self, after: int | None) -> Step:
        """What a watcher starts with: what it missed since the picture of that digest, else all there is."""
        if after == self._digest:
            return self._step((), (), resync=False)
        missed = list(self._steps)
        while missed and missed[0].before != after:
            missed.pop(0)
        if not missed or any(each.resync for each in missed):
            return self.whole()
        return self._net(missed)

    def whole(self) -> Step:
        return self._step(tuple(self._picture.values()), (), resync=True)

    async def following(self, revision: int) -> Step | None:
        """The step after that revision, as soon as there is one; None when the watch has ended."""
        while self.revision == revision and not self.ended:
            await self._changed.wait()
        if self.ended:
            return None
        step = next((each for each in self._steps if each.revision == revision + 1), None)
        return step or self.whole()

    def take(self, tenant: Tenant, found: Availability) -> bool:
        """The search's answer now; whether anything to be seen is different."""
        self.tenant = tenant
        self.looks += 1
        picture, before = _picture(found), self._picture
        opened = tuple(slot for where, slot in picture.items() if before.get(where) != slot)
        taken = tuple(slot for where, slot in before.items() if picture.get(where) != slot)
        told, self.found = _sources(self.found), found
        if not (opened or taken) and told == _sources(found):
            return False
        silent = {s.endpoint_id for s in found.sources if s.state not in ANSWERING}
        # what a silent EHR no longer tells is not taken: it is unknown, and that is said by showing all anew
        resync = any(slot.endpoint_id in silent for slot in taken)
        self._picture, self.revision = picture, self.revision + 1
        last, changed = self._digest, digest_of(opened) - digest_of(taken)
        self._digest = (last + changed) % 2**128
        step = self.whole() if resync else self._step(opened, taken, resync=False)
        self._steps.append(replace(step, before=last))
        self._wake()
        return True

    def end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _step(self, opened: Sequence[Slot], taken: Sequence[Slot], *, resync: bool) -> Step:
        return Step(
            revision=self.revision,
            before=self._digest,
            digest=self._digest,
            opened=opened,
            taken=taken,
            resync=resync,
            found=self.found,
        )

    def _net(self, missed: Sequence[Step]) -> Step:
        """Several steps as one: what came and went in between is not told."""
        opened: dict[bytes, Slot] = {}
        taken: dict[bytes, Slot] = {}
        for step in missed:
            for slot in step.taken:
                if opened.pop(place(slot), None) is None:
                    taken[place(slot)] = slot
            for slot in step.opened:
                if taken.get(place(slot)) == slot:
                    del taken[place(slot)]
                else:
                    opened[place(slot)] = slot
        return self._step(tuple(opened.values()), tuple(taken.values()), resync=False)


def _picture(found: Availability) -> dict[bytes, Slot]:
    return {place(slot): slot for slot in found.slots[:MOST_SLOTS]}


def _sources(found: Availability) -> Mapping[str, tuple[SourceState, str | None]]:
    return {source.endpoint_id: (source.state, source.reason) for source in found.sources}
