"""Which leaders are near, and what the log says where none can be."""

from __future__ import annotations

from types import MappingProxyType

from ottla.cluster.metadata import BrokerNode, MetadataSnapshot, PartitionInfo
from ottla.observe.log import ClientLog
from ottla.producer.rack import Rack
from tests.fixtures.logged import Logged

LOG = ClientLog("outbox", "producer test")
PARTITIONS = [
    PartitionInfo("t", number, leader, 0) for number, leader in enumerate([1, 2, 3, -1, 1])
]


def racks(*names: str | None) -> MetadataSnapshot:
    """A cluster whose nodes, numbered from 1, are in these racks."""
    nodes = {id_: BrokerNode(id_, "h", 1, rack) for id_, rack in enumerate(names, 1)}
    return MetadataSnapshot(brokers=MappingProxyType(nodes))


def test_near_are_partitions_whose_leader_is_in_the_rack() -> None:
    rack = Rack("a", LOG)
    assert rack.near(racks("a", "b", None), PARTITIONS) == [0, 4]
    assert rack.near(racks("b", "a", "a"), PARTITIONS) == [1, 2]
    assert rack.near(racks("b", "b", None), PARTITIONS) == []


def test_a_leader_that_the_metadata_does_not_name_is_not_near() -> None:
    assert Rack("a", LOG).near(racks("a"), PARTITIONS) == [0, 4]


def test_without_a_rack_nothing_is_near() -> None:
    assert Rack(None, LOG).near(racks(None, None, None), PARTITIONS) == []


def test_a_rack_without_brokers_has_one_warning(logged: Logged) -> None:
    rack = Rack("a", LOG)
    rack.check(MetadataSnapshot())
    rack.check(racks("a", "b"))
    assert logged() == []
    rack.check(racks("b", None))
    rack.check(racks(None, "b", "b"))
    (empty,) = logged("rack.empty", client_rack="a")
    assert empty.__dict__["racks"] == ["b", "no rack"]
    rack.check(racks("c"))
    assert len(logged()) == 2
    rack.check(racks("a"))
    rack.check(racks("c"))
    assert len(logged()) == 3


def test_no_warning_where_no_rack_is_preferred(logged: Logged) -> None:
    Rack(None, LOG).check(racks("b"))
    assert logged() == []
