"""New keys for what is sealed of people, while the servers run."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.ports import Keys, Resealed, StartWork, Unsealable
from domain.ports.keys import Place

AT_ONCE = 100
PAUSE = 0.5
"""Seconds until what somebody was just writing is looked at again."""

Say = Callable[[str], None]
Step = Callable[[str], Awaitable[None]]
"""Of one tenant, by its id. Raises `Unsealable`."""


class SomeDoNotOpen(Unsealable):
    """Told when all else is done: whose, and how many rows of which table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeys:
    """`settle`: seconds after which every process has read the keys anew, and whatever it began before has ended.

    It may be cut short at any moment and called again: then it goes on. A tenant with something that does not open is
    in no other's way, and keeps its former keys. Everything here raises `SomeDoNotOpen` in the end, if there was any.
    """

    start_work: StartWork
    settle: float

    async def __call__(self, tenant_ids: Sequence[str], say: Say) -> None:
        why: dict[str, str] = {}
        left = await self._each(tenant_ids, self._by(lambda keys, tenant_id: keys.begin(tenant_id)), why)
        if not left:
            return _tell(why)
        say(f"there are new keys; waiting {self.settle:g} s until every process has read them")
        await asyncio.sleep(self.settle)
        left = await self._each(left, self._by(lambda keys, tenant_id: keys.switch(tenant_id)), why)
        left = await self._each(left, lambda tenant_id: self.seal(tenant_id, say), why)
        say(f"waiting {self.settle:g} s until no process uses the former keys")
        await asyncio.sleep(self.settle)
        left = await self._each(left, lambda tenant_id: self.seal(tenant_id, say), why)
        left = await self._each(left, self._by(lambda keys, tenant_id: keys.retire(tenant_id)), why)
        say(f"the former keys of {len(left)} tenants are retired" if why else "the former keys are retired")
        return _tell(why)

    async def seal_all(self, tenant_ids: Sequence[str], say: Say) -> None:
        why: dict[str, str] = {}
        await self._each(tenant_ids, lambda tenant_id: self.seal(tenant_id, say), why)
        _tell(why)

    async def seal(self, tenant_id: str, say: Say) -> None:
        """Everything of one tenant by its current keys, also what is still in the clear."""
        done, lost = await self._pass(tenant_id, say)
        while await self._remaining(tenant_id) > lost.total():
            await asyncio.sleep(PAUSE)
            more, lost = await self._pass(tenant_id, say)
            done += more
        if lost:
            raise SomeDoNotOpen(", ".join(f"{count} rows of {table}" for table, count in sorted(lost.items())))
        say(f"{tenant_id}: all is sealed by the current keys, {done} rows anew")

    async def rewrap(self, tenant_ids: Sequence[str], say: Say) -> None:
        """Have the keys wrapped by the newest master key; nothing is sealed anew."""

        async def wrap(tenant_id: str) -> None:
            async with self.start_work(tenant_id) as work:
                count = await work.keys.rewrap(tenant_id)
                await work.commit()
            say(f"{tenant_id}: {count} keys wrapped anew, and all of them open")

        why: dict[str, str] = {}
        await self._each(tenant_ids, wrap, why)
        _tell(why)

    async def _pass(self, tenant_id: str, say: Say) -> tuple[int, Counter[str]]:
        """How many rows are sealed anew, and how many of which table do not open."""
        done, lost, place = 0, Counter[str](), None
        while True:
            some = await self._some(tenant_id, place)
            done, place = done + some.done, some.next
            lost.update(some.lost)
            if place is None:
                return done, lost
            if some.done:
                say(f"{tenant_id}: {done} rows so far")

    async def _some(self, tenant_id: str, after: Place | None) -> Resealed:
        async with self.start_work(tenant_id) as work:
            found = await work.keys.reseal(tenant_id, AT_ONCE, after)
            await work.commit()
        return found

    async def _remaining(self, tenant_id: str) -> int:
        async with self.start_work(tenant_id) as work:
            return await work.keys.remaining(tenant_id)

    async def _each(self, tenant_ids: Sequence[str], step: Step, why: dict[str, str]) -> Sequence[str]:
        """Those with whom it went well; `why` it did not with the others is added there."""
        for tenant_id in tenant_ids:
            try:
                await step(tenant_id)
            except Unsealable as reason:
                why[tenant_id] = str(reason)
        return [each for each in tenant_ids if each not in why]

    def _by(self, step: Callable[[Keys, str], Awaitable[None]]) -> Step:
        """In a transaction of its own."""

        async def of(tenant_id: str) -> None:
            async with self.start_work(tenant_id) as work:
                await step(work.keys, tenant_id)
                await work.commit()

        return of


def _tell(why: Mapping[str, str]) -> None:
    if why:
        each = "; ".join(f"{tenant_id} ({reason})" for tenant_id, reason in why.items())
        raise SomeDoNotOpen(f"not all of it opens, and keeps its keys: {each}")
