"""A consumer group in asyncio that marks and commits each record at once. SIGINT or SIGTERM ends it cleanly."""

import asyncio
import sys

import ottla

TOPIC = "ottla"
GROUP = "ottla-consumer"


class Handler(ottla.AsyncConsumerGroupHandler):
    def __init__(self) -> None:
        self.processed: dict[int, int] = {}

    async def consume_claim(
        self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
    ) -> None:
        async for record in claim:
            print("claimed:", record.value, record.timestamp_ms, record.topic, flush=True)
            self.processed[record.partition] = self.processed.get(record.partition, 0) + 1
            session.mark(record)  # this record is finished; nothing is sent yet
            await session.commit()  # now the group knows it too


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
