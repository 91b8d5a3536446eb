"""Send 1000 messages; one background loop reads what became of each of them, and ends by itself after the close."""

import sys
import threading

import ottla

TOPIC = "ottla"
MESSAGES = 1000


def main(bootstrap: str = "localhost:9092") -> int:
    producer = ottla.Producer(
        bootstrap,
        client_id="demo-producer",
        acks=ottla.ACKS_ALL,
        return_successes=True,
        return_errors=True,
    )
    read = 0

    def read_outcomes() -> None:
        nonlocal read
        for delivery in producer.outcomes():
            read += 1
            if delivery.error is None:
                print("success:", delivery.value, delivery.partition, delivery.offset)
            else:
                print("error:", delivery.error)

    reader = threading.Thread(target=read_outcomes)
    reader.start()
    for number in range(MESSAGES):
        producer.send(TOPIC, f"ottla-{number}")
    producer.close()
    reader.join()
    print(f"{read} outcomes of {MESSAGES} messages")
    return read


if __name__ == "__main__":
    main(*sys.argv[1:])
