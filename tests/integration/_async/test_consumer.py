"""The consumer against a broker: positions, seeks, commits, groups."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ottla

A_LONG_WAIT_S = 20


async def fill(bootstrap: str, topic: str, count: int, partitions: int = 1) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=number % partitions)


async def take(consumer: ottla.AsyncConsumer, count: int) -> list[ottla.Record]:
    found: list[ottla.Record] = []
    while len(found) < count:
        records = await consumer.poll(timeout=A_LONG_WAIT_S)
        assert records, f"only {len(found)} of {count} records came"
        found += list(records)
    return found


async def test_positions_seeks_and_offsets(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 100)
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    ) as consumer:
        await consumer.assign([tp])
        assert consumer.assignment() == {tp}
        assert len(await take(consumer, 100)) == 100
        assert await consumer.position(tp) == 100
        await consumer.seek(tp, 40)
        records = await take(consumer, 60)
        assert records[0].offset == 40
        await consumer.seek_to_beginning(tp)
        assert (await take(consumer, 100))[0].offset == 0
        await consumer.seek_to_end()
        assert await consumer.position(tp) == 100
        assert not await consumer.poll(timeout=0.1)
        assert await consumer.beginning_offsets(tp) == {tp: 0}
        assert await consumer.end_offsets(tp) == {tp: 100}
        assert await consumer.lag() == {tp: 0}
        assert await consumer.partitions_for(topic) == [tp]


async def test_the_position_of_an_unassigned_partition_is_an_error(
    bootstrap: str, topic: str
) -> None:
    async with ottla.AsyncConsumer(bootstrap) as consumer:
        await consumer.assign([ottla.TopicPartition(topic, 1)])
        with pytest.raises(ottla.StateError, match="not assigned to this consumer"):
            await consumer.position(ottla.TopicPartition(topic, 0))


async def test_a_listener_that_raises_at_close_does_not_keep_the_consumer_open(
    bootstrap: str, topic: str
) -> None:
    def refuse(_: list[ottla.TopicPartition]) -> None:
        raise ValueError("not now")

    await fill(bootstrap, topic, 1)
    consumer = ottla.AsyncConsumer(bootstrap, group_id=topic, auto_offset_reset="earliest")
    await consumer.subscribe([topic], on_revoked=refuse)
    await take(consumer, 1)
    with pytest.raises(ValueError, match="not now"):
        await consumer.close()
    with pytest.raises(ottla.Closed):
        await consumer.poll(timeout=A_LONG_WAIT_S)


async def test_an_iteration_returns_records_one_by_one(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 1_200)
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([tp])
        seen = []
        async for record in consumer:
            seen.append((record.offset, record.value))
            if len(seen) == 1_200:
                break
        assert seen == [(offset, b"%d" % offset) for offset in range(1_200)]


async def test_a_seek_within_an_iteration_takes_effect_at_once(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 100)
    tp = ottla.TopicPartition(topic, 0)
    seen: list[int] = []
    async with ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    ) as consumer:
        await consumer.assign([tp])
        async for record in consumer:
            seen.append(record.offset)
            if seen == [0, 1, 2]:
                await consumer.seek(tp, 50)
                assert await consumer.position(tp) == 50
            if record.offset == 52:
                break
    assert seen == [0, 1, 2, 50, 51, 52]


async def test_a_poll_continues_after_the_record_of_an_iteration(
    bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(2)
    await fill(bootstrap, topic, 200, partitions=2)
    places = [ottla.TopicPartition(topic, 0), ottla.TopicPartition(topic, 1)]
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign(places)
        seen = []
        async for record in consumer:
            seen.append((record.partition, record.offset))
            if len(seen) == 30:
                break
        seen += [(record.partition, record.offset) for record in await take(consumer, 170)]
        assert sorted(seen) == [
            (place.partition, offset) for place in places for offset in range(100)
        ]
        assert not await consumer.poll(timeout=0.1)


async def test_a_poll_that_times_out_returns_empty_records(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncConsumer(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        records = await consumer.poll(timeout=0.1)
        assert isinstance(records, ottla.Records)
        assert not records
        assert [record.value for record in records] == []
        assert (len(records), records.values(), records.by_partition()) == (0, [], {})
        consumer.wakeup()
        woken = await consumer.poll(timeout=A_LONG_WAIT_S)
        assert isinstance(woken, ottla.Records)
        assert not woken


async def test_a_call_without_timeout_takes_the_limit_of_the_configuration(
    bootstrap: str, topic: str
) -> None:
    async with ottla.AsyncConsumer(bootstrap, default_api_timeout_ms=100) as consumer:
        await consumer.assign((topic, 0))
        await consumer.position((topic, 0), timeout=A_LONG_WAIT_S)
        assert not await consumer.poll()
    async with ottla.AsyncConsumer("127.0.0.1:1", default_api_timeout_ms=100) as consumer:
        await consumer.assign((topic, 0))
        assert not await consumer.poll(timeout=ottla.DEFAULT_TIMEOUT)
        with pytest.raises(ottla.Timeout):
            await consumer.position((topic, 0))
        with pytest.raises(ottla.Timeout):
            await consumer.end_offsets((topic, 0), timeout=0.05)


async def test_a_call_with_timeout_none_waits_as_long_as_it_takes(
    bootstrap: str, topic: str
) -> None:
    async with ottla.AsyncConsumer(
        bootstrap, default_api_timeout_ms=50, auto_offset_reset="earliest"
    ) as consumer:
        await consumer.assign((topic, 0))
        assert await consumer.position((topic, 0), timeout=None) == 0
        producer = ottla.Producer(bootstrap, linger_ms=400)
        producer.send_nowait(topic, b"late", partition=0)
        records = await consumer.poll(timeout=None)
        assert records.values() == [b"late"]
        assert await consumer.end_offsets((topic, 0), timeout=None) == {(topic, 0): 1}
        producer.close()


async def test_partitions_are_given_as_one_several_or_an_iterable(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(3)
    await fill(bootstrap, topic, 30, partitions=3)
    zero, one, two = (ottla.TopicPartition(topic, number) for number in range(3))
    async with ottla.AsyncConsumer(bootstrap, group_id=f"g-{unique_name}") as consumer:
        await consumer.assign((topic, 0))
        assert consumer.assignment() == {zero}
        await consumer.assign(zero, (topic, 1))
        assert consumer.assignment() == {zero, one}
        await consumer.assign(tp for tp in (zero, one, two))
        assert consumer.assignment() == {zero, one, two}
        consumer.pause([zero, (topic, 1)], two)
        assert consumer.paused() == {zero, one, two}
        consumer.resume(consumer.paused() - {zero})
        assert consumer.paused() == {zero}
        consumer.resume((topic, 0))
        await consumer.seek_to_end()
        await consumer.seek_to_beginning([])
        assert [await consumer.position(tp) for tp in (zero, one, two)] == [10, 10, 10]
        await consumer.seek_to_beginning([one, two])
        assert [await consumer.position((topic, number)) for number in range(3)] == [10, 0, 0]
        await consumer.seek((topic, 1), 4)
        await consumer.commit({(topic, 0): 3, one: ottla.OffsetAndMetadata(4, metadata="m")})
        assert await consumer.committed([]) == {}
        assert await consumer.committed([zero, two]) == {
            zero: ottla.OffsetAndMetadata(3),
            two: None,
        }
        found = await consumer.end_offsets([(topic, 0)], one)
        assert {str(tp) for tp in found} == {f"{topic}-0", f"{topic}-1"}


async def test_results_are_keyed_by_topic_partition(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 5)
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign((topic, 0))
        records = await consumer.poll(timeout=A_LONG_WAIT_S)
        assert [tp.topic for tp in records.by_partition()] == [topic]
        assert [str(tp) for tp in records.next_offsets()] == [f"{topic}-0"]
        assert [str(tp) for tp in await consumer.lag()] == [f"{topic}-0"]


async def test_repr_shows_the_state_of_a_consumer(bootstrap: str, topic: str) -> None:
    consumer = ottla.AsyncConsumer(bootstrap, client_id="c")
    await consumer.assign((topic, 0), (topic, 1))
    assert repr(consumer) == "<AsyncConsumer 'c' assigned=2>"
    await consumer.close()
    assert repr(consumer) == "<AsyncConsumer 'c' closed>"
    member = ottla.AsyncConsumer(bootstrap, "g", client_id="c")
    assert repr(member) == "<AsyncConsumer 'c' group='g' assigned=0>"
    await member.close()
    group = ottla.AsyncConsumerGroup(bootstrap, "g")
    assert repr(group) == "<AsyncConsumerGroup 'g' no session>"
    await group.close()
    assert repr(group) == "<AsyncConsumerGroup 'g' closed>"


async def test_misuse_is_a_state_error(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncConsumer(bootstrap) as consumer:
        with pytest.raises(ottla.StateError, match=r"call subscribe\(\) or assign\(\) first"):
            await consumer.poll(timeout=0)
        with pytest.raises(TypeError, match=r"assign\(\) needs partitions; assign\(\[\]\) leaves"):
            await consumer.assign()
        await consumer.assign((topic, 0))
        with pytest.raises(RuntimeError, match="not assigned to this consumer"):
            await consumer.seek((topic, 7), 0)


async def test_a_paused_partition_returns_no_records(
    bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(2)
    await fill(bootstrap, topic, 40, partitions=2)
    first, second = ottla.TopicPartition(topic, 0), ottla.TopicPartition(topic, 1)
    async with ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    ) as consumer:
        await consumer.assign([first, second])
        consumer.pause(first)
        assert {record.partition for record in await take(consumer, 20)} == {1}
        assert not await consumer.poll(timeout=0.1)
        consumer.resume(first)
        assert [record.offset for record in await take(consumer, 20)] == list(range(20))


async def test_a_group_continues_from_its_commit(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(3)
    await fill(bootstrap, topic, 90, partitions=3)
    options: ottla.ConsumerOptions = {
        "group_id": f"g-{unique_name}",
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
    }
    async with ottla.AsyncConsumer(bootstrap, **options) as consumer:
        await consumer.subscribe([topic])
        await take(consumer, 90)
        await consumer.commit()
        committed = await consumer.committed()
        assert {tp.partition: at.offset for tp, at in committed.items() if at} == {
            0: 30,
            1: 30,
            2: 30,
        }
    await fill(bootstrap, topic, 9, partitions=3)
    async with ottla.AsyncConsumer(bootstrap, **options) as consumer:
        await consumer.subscribe([topic])
        assert len(await take(consumer, 9)) == 9


async def test_auto_commit_covers_finished_records(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    await fill(bootstrap, topic, 10)
    tp = ottla.TopicPartition(topic, 0)
    group = f"g-{unique_name}"
    async with ottla.AsyncConsumer(
        bootstrap, group_id=group, auto_offset_reset="earliest"
    ) as consumer:
        await consumer.subscribe([topic])
        async for record in consumer:
            if record.offset == 6:
                break
    async with ottla.AsyncConsumer(bootstrap, group_id=group) as consumer:
        committed = await consumer.committed(tp)
    place = committed[tp]
    assert place is not None
    assert place.offset in (6, 7), "the close finishes the current record, never one after it"


async def test_commits_coalesce(bootstrap: str, topic: str, unique_name: str) -> None:
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(
        bootstrap, group_id=f"g-{unique_name}", enable_auto_commit=False
    ) as consumer:
        await consumer.assign([tp])
        tickets = [consumer.commit_async({tp: offset}) for offset in range(1, 501)]
        await consumer.commit({tp: 501})
        assert all(ticket.done() for ticket in tickets)
        committed = await consumer.committed(tp)
        place = committed[tp]
        assert place is not None
        assert place.offset == 501


async def test_a_commit_in_flight_is_made_before_the_close(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    tp = ottla.TopicPartition(topic, 0)
    options: ottla.ConsumerOptions = {"group_id": f"g-{unique_name}", "enable_auto_commit": False}
    async with ottla.AsyncConsumer(bootstrap, **options) as consumer:
        await consumer.assign([tp])
        tickets = [consumer.commit_async({tp: offset}) for offset in (3, 4, 5)]
    assert [ticket.exception() for ticket in tickets] == [None] * 3
    async with ottla.AsyncConsumer(bootstrap, **options) as consumer:
        place = (await consumer.committed(tp))[tp]
        assert place is not None
        assert place.offset == 5


async def test_unsubscribe_commits_finished_records_and_permits_assign(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    await fill(bootstrap, topic, 10)
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(
        bootstrap, group_id=f"g-{unique_name}", auto_offset_reset="earliest", fetch_max_wait_ms=50
    ) as consumer:
        await consumer.subscribe([topic])
        await take(consumer, 10)
        with pytest.raises(ottla.StateError, match="exclude each other"):
            await consumer.assign([tp])
        await consumer.unsubscribe()
        assert consumer.assignment() == set()
        place = (await consumer.committed(tp))[tp]
        assert place is not None
        assert place.offset == 10
        await consumer.assign([tp])
        with pytest.raises(ottla.StateError, match="exclude each other"):
            await consumer.subscribe([topic])
        await consumer.seek(tp, 4)
        assert [record.offset for record in await take(consumer, 6)] == list(range(4, 10))
        await consumer.unsubscribe()
        await consumer.subscribe([topic])
        assert consumer.subscription() == {topic}


async def test_pattern_finds_topics_and_its_listener_is_called_at_the_close(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(1)
    await fill(bootstrap, topic, 5)
    events: list[tuple[str, list[ottla.TopicPartition]]] = []
    async with ottla.AsyncConsumer(
        bootstrap, group_id=f"g-{unique_name}", auto_offset_reset="earliest"
    ) as consumer:
        await consumer.subscribe(
            pattern=f"{topic[:-1]}[{topic[-1]}]",
            on_assigned=lambda tps: events.append(("assigned", tps)),
            on_revoked=lambda tps: events.append(("revoked", tps)),
        )
        await take(consumer, 5)
    places = [ottla.TopicPartition(topic, 0)]
    assert events[-2:] == [("assigned", places), ("revoked", places)]


async def test_listener_that_raises_does_not_stop_the_close(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    await fill(bootstrap, topic, 5)
    group = f"g-{unique_name}"

    def fail(_partitions: list[ottla.TopicPartition]) -> None:
        raise LookupError("mine")

    consumer = ottla.AsyncConsumer(bootstrap, group_id=group, auto_offset_reset="earliest")
    await consumer.subscribe([topic], on_revoked=fail)
    await take(consumer, 5)
    with pytest.raises(LookupError):
        await consumer.close()
    await consumer.close()
    with pytest.raises(ottla.errors.Closed):
        await consumer.poll(timeout=1)
    async with ottla.AsyncConsumer(bootstrap, group_id=group) as after:
        await after.subscribe([topic])
        await fill(bootstrap, topic, 1)
        assert [record.offset for record in await take(after, 1)] == [5]


async def test_wrong_use_is_refused(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 1)
    tp, other = ottla.TopicPartition(topic, 0), ottla.TopicPartition(topic, 7)
    async with ottla.AsyncConsumer(
        bootstrap, group_id="any", auto_offset_reset="earliest"
    ) as consumer:
        for topics, pattern in (([], None), ([topic], "x"), ([], "(")):
            with pytest.raises(ValueError, match="pattern"):
                await consumer.subscribe(topics, pattern=pattern)
        await consumer.assign([tp])
        with pytest.raises(ValueError, match="max_records"):
            await consumer.poll(max_records=0)
        with pytest.raises(ValueError, match="offset must be 0 to"):
            await consumer.seek(tp, -1)
        for refused in (consumer.pause, consumer.resume):
            with pytest.raises(ottla.StateError, match="not assigned"):
                refused(other)
        with pytest.raises(ottla.StateError, match="not assigned"):
            await consumer.position(other)
        with pytest.raises(ottla.StateError, match="not assigned"):
            await consumer.seek(other, 0)
        consumer.pause(tp)
        assert consumer.paused() == {tp}
        await consumer.assign([])
        assert consumer.paused() == set()


async def test_seek_before_a_position_is_known_wins(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 10)
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([tp])
        await consumer.seek(tp, 6)
        assert await consumer.position(tp) == 6
        assert [record.offset for record in await take(consumer, 4)] == [6, 7, 8, 9]


async def test_lag_counts_from_the_current_record(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 10)
    tp = ottla.TopicPartition(topic, 0)
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([tp])
        async for record in consumer:
            if record.offset == 3:
                assert await consumer.position(tp) == 4
                assert await consumer.lag() == {tp: 6}
                break
