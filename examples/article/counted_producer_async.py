"""Close right after the last send, in asyncio: two reading tasks still get every outcome once."""

import asyncio
import sys

import ottla

TOPIC = "ottla"
MESSAGES = 1000


async def main(bootstrap: str = "localhost:9092") -> tuple[list[int], list[int]]:
    producer = ottla.AsyncProducer(
        bootstrap, acks=ottla.ACKS_ALL, return_successes=True, return_errors=True
    )

    async def read_successes() -> list[int]:
        return [delivery.metadata async for delivery in producer.successes()]

    async def read_errors() -> list[int]:
        return [delivery.metadata async for delivery in producer.errors()]

    readers = asyncio.gather(read_successes(), read_errors())
    for number in range(MESSAGES):
        await producer.send(TOPIC, f"ottla-{number}", metadata=number)
    report = await producer.close()
    written, failed = await readers
    print(f"{report}; read {len(written)} successes and {len(failed)} errors")
    assert sorted(written + failed) == list(range(MESSAGES))
    return written, failed


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
