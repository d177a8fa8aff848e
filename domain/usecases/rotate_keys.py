"""New keys for what is sealed of people, while the servers run."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from domain.ports import Keys, StartWork
from domain.ports.keys import Place

AT_ONCE = 100
PAUSE = 0.5
"""Seconds until what somebody was just writing is looked at again."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeys:
    """`settle`: seconds after which every process has read the keys anew, and whatever it began before has ended.

    It may be cut short at any moment and called again: then it goes on.
    """

    start_work: StartWork
    settle: float

    async def __call__(self, tenant_ids: Sequence[str], say: Say) -> None:
        await self._each(tenant_ids, lambda keys, tenant_id: keys.begin(tenant_id))
        say(f"there are new keys; waiting {self.settle:g} s until every process has read them")
        await asyncio.sleep(self.settle)
        await self._each(tenant_ids, lambda keys, tenant_id: keys.switch(tenant_id))
        for tenant_id in tenant_ids:
            await self.seal(tenant_id, say)
        say(f"waiting {self.settle:g} s until no process uses the former keys")
        await asyncio.sleep(self.settle)
        for tenant_id in tenant_ids:
            await self.seal(tenant_id, say)
        await self._each(tenant_ids, lambda keys, tenant_id: keys.retire(tenant_id))
        say("the former keys are retired")

    async def seal(self, tenant_id: str, say: Say) -> None:
        """Everything of one tenant by its current keys, also what is still in the clear."""
        done = await self._pass(tenant_id, say)
        while await self._remaining(tenant_id):
            await asyncio.sleep(PAUSE)
            done += await self._pass(tenant_id, say)
        say(f"{tenant_id}: all is sealed by the current keys, {done} rows anew")

    async def rewrap(self, tenant_ids: Sequence[str], say: Say) -> None:
        """Have the keys wrapped by the newest master key; nothing is sealed anew."""
        for tenant_id in tenant_ids:
            async with self.start_work(tenant_id) as work:
                count = await work.keys.rewrap(tenant_id)
                await work.commit()
            say(f"{tenant_id}: {count} keys wrapped anew")

    async def _pass(self, tenant_id: str, say: Say) -> int:
        done, place = 0, None
        while True:
            some, place = await self._some(tenant_id, place)
            done += some
            if place is None:
                return done
            if some:
                say(f"{tenant_id}: {done} rows so far")

    async def _some(self, tenant_id: str, after: Place | None) -> tuple[int, Place | None]:
        async with self.start_work(tenant_id) as work:
            found = await work.keys.reseal(tenant_id, AT_ONCE, after)
            await work.commit()
        return found

    async def _remaining(self, tenant_id: str) -> int:
        async with self.start_work(tenant_id) as work:
            return await work.keys.remaining(tenant_id)

    async def _each(self, tenant_ids: Sequence[str], step: Callable[[Keys, str], Awaitable[None]]) -> None:
        for tenant_id in tenant_ids:
            async with self.start_work(tenant_id) as work:
                await step(work.keys, tenant_id)
                await work.commit()
