"""A consumer group that never waits for a commit: marks and commit_async() for each record, few requests in all.

No committer thread, channel or wait group is needed: calls made while a commit is in flight share the next one, and
the session does not end before the last one has.
"""

import sys

import ottla

TOPIC = "ottla"
GROUP = "ottla-consumer"


class Handler(ottla.ConsumerGroupHandler):
    def __init__(self) -> None:
        self.processed: dict[int, int] = {}

    def setup(self, session: ottla.GroupSession) -> None:
        print("setup: generation", session.generation, "claims", len(session.claims), flush=True)

    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
        for record in claim:
            self.processed[record.partition] = self.processed.get(record.partition, 0) + 1
            session.mark(record)
            session.commit_async()

    def cleanup(self, session: ottla.GroupSession) -> None:
        print("cleanup: generation", session.generation, flush=True)


def main(bootstrap: str = "localhost:9092") -> dict[int, int]:
    ottla.log_to_stderr("INFO")
    group = ottla.ConsumerGroup(
        bootstrap, GROUP, enable_auto_commit=False, auto_offset_reset=ottla.OFFSET_OLDEST
    )
    handler = Handler()
    group.run([TOPIC], handler)
    print("processed:", sum(handler.processed.values()), flush=True)
    return handler.processed


if __name__ == "__main__":
    main(*sys.argv[1:])
