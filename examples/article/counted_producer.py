"""Close right after the last send: two readers, one for each kind of outcome, still get every one of them once."""

import sys
import threading

import ottla

TOPIC = "ottla"
MESSAGES = 1000


def main(bootstrap: str = "localhost:9092") -> tuple[list[int], list[int]]:
    producer = ottla.Producer(
        bootstrap, acks=ottla.ACKS_ALL, return_successes=True, return_errors=True
    )
    written: list[int] = []
    failed: list[int] = []

    def read_successes() -> None:
        written.extend(delivery.metadata for delivery in producer.successes())

    def read_errors() -> None:
        for delivery in producer.errors():
            print("error:", delivery.error, "outcome:", delivery.outcome)
            failed.append(delivery.metadata)

    readers = [threading.Thread(target=read_successes), threading.Thread(target=read_errors)]
    for reader in readers:
        reader.start()
    for number in range(MESSAGES):
        producer.send(TOPIC, f"ottla-{number}", metadata=number)
    report = producer.close()
    for reader in readers:
        reader.join()
    print(f"{report}; read {len(written)} successes and {len(failed)} errors")
    assert sorted(written + failed) == list(range(MESSAGES))
    return written, failed


if __name__ == "__main__":
    main(*sys.argv[1:])
