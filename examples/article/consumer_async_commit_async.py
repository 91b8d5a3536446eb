"""A consumer group in asyncio that never waits for a commit: marks and commit_async() for each record."""

import asyncio
import sys

import ottla

TOPIC = "ottla"
GROUP = "ottla-consumer"


class Handler(ottla.AsyncConsumerGroupHandler):
    def __init__(self) -> None:
        self.processed: dict[int, int] = {}

    async def setup(self, session: ottla.AsyncGroupSession) -> None:
        print("setup: generation", session.generation, "claims", len(session.claims), flush=True)

    async def consume_claim(
        self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
    ) -> None:
        async for record in claim:
            self.processed[record.partition] = self.processed.get(record.partition, 0) + 1
            session.mark(record)
            session.commit_async()

    async def cleanup(self, session: ottla.AsyncGroupSession) -> None:
        print("cleanup: generation", session.generation, flush=True)


async def main(bootstrap: str = "localhost:9092") -> dict[int, int]:
    ottla.log_to_stderr("INFO")
    group = ottla.AsyncConsumerGroup(
        bootstrap, GROUP, enable_auto_commit=False, auto_offset_reset=ottla.OFFSET_OLDEST
    )
    handler = Handler()
    await group.run([TOPIC], handler)
    print("processed:", sum(handler.processed.values()), flush=True)
    return handler.processed


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
