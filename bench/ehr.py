"""One record system of the made-up chain, until it is told to stop: `python -m bench.ehr ihe 25`.

What it has from the start is left out of garbage collection, which would make every other answer twice as slow.
"""

import gc
import sys
from typing import Any

from bench.chain import world_of
from bench.processes import say
from integrations.sandbox.ehr import EhrServer, create_ehr


class _Server(EhrServer):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        gc.freeze()
        say(f"http://127.0.0.1:{self.port}")


def main(dialect: str, practitioners: str) -> None:
    _Server(create_ehr(world_of(dialect, int(practitioners)))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
