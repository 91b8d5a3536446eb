"""Send 1000 messages from asyncio; one background task reads what became of each of them, and ends by itself."""

import asyncio
import sys

import ottla

TOPIC = "ottla"
MESSAGES = 1000


async def main(bootstrap: str = "localhost:9092") -> int:
    producer = ottla.AsyncProducer(
        bootstrap,
        client_id="demo-producer",
        acks=ottla.ACKS_ALL,
        return_successes=True,
        return_errors=True,
    )

    async def read_outcomes() -> int:
        read = 0
        async for delivery in producer.outcomes():
            read += 1
            if delivery.error is None:
                print("success:", delivery.value, delivery.partition, delivery.offset)
            else:
                print("error:", delivery.error)
        return read

    reader = asyncio.create_task(read_outcomes())
    for number in range(MESSAGES):
        await producer.send(TOPIC, f"ottla-{number}")
    await producer.close()
    read = await reader
    print(f"{read} outcomes of {MESSAGES} messages")
    return read


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
