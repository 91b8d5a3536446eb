"""CreateTopics: any node does it, at once; leaders are ready when the answer leaves.

-1 partitions or replicas mean the default (4+ in Kafka, any version here). Assignments by hand are followed in their
number of partitions; the replicas are the broker's own choice. Versions: 5+ answer with the number of partitions and
replicas and the configuration, 7+ with the topic id.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.topics import config_error, is_legal_name

DYNAMIC_TOPIC_CONFIG = 1


async def handle(request: CreateTopicsRequest, call: Call) -> CreateTopicsResponse:
    names = [topic.name for topic in request.topics]
    return CreateTopicsResponse(
        topics=[
            _refused(topic.name, ErrorCode.INVALID_REQUEST, "the topic is named twice")
            if names.count(topic.name) > 1
            else _create(topic, request.validate_only, call)
            for topic in request.topics
        ]
    )


def refuse(request: CreateTopicsRequest, call: Call, error: ErrorCode) -> CreateTopicsResponse:
    return CreateTopicsResponse(topics=[_refused(topic.name, error) for topic in request.topics])


def _refused(name: str, error: ErrorCode, message: str | None = None) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=error, error_message=message)


def _create(topic: CreatableTopic, validate_only: bool, call: Call) -> CreatableTopicResult:
    cluster = call.cluster
    if not is_legal_name(topic.name):
        return _refused(topic.name, ErrorCode.INVALID_TOPIC_EXCEPTION, "not a legal topic name")
    if topic.name in cluster.topics.by_name:
        text = f"Topic '{topic.name}' already exists."
        return _refused(topic.name, ErrorCode.TOPIC_ALREADY_EXISTS, text)
    partitions = topic.num_partitions
    if topic.assignments:
        partitions = len(topic.assignments)
    elif partitions == -1:
        partitions = cluster.options.num_partitions
    if partitions < 1:
        return _refused(topic.name, ErrorCode.INVALID_PARTITIONS, "at least one partition")
    replicas = 1 if topic.replication_factor == -1 else topic.replication_factor
    if topic.assignments:
        replicas = len(topic.assignments[0].broker_ids)
    if not 1 <= replicas <= len(cluster.nodes):
        text = f"{replicas} replicas on {len(cluster.nodes)} nodes"
        return _refused(topic.name, ErrorCode.INVALID_REPLICATION_FACTOR, text)
    config = {entry.name: entry.value for entry in topic.configs}
    if wrong := config_error(config):
        return _refused(topic.name, ErrorCode.INVALID_CONFIG, wrong)
    result = CreatableTopicResult(
        name=topic.name,
        num_partitions=partitions,
        replication_factor=replicas,
        configs=[
            CreatableTopicConfigs(name=name, value=value, config_source=DYNAMIC_TOPIC_CONFIG)
            for name, value in config.items()
        ],
    )
    if not validate_only:
        result.topic_id = cluster.topics.create(topic.name, partitions, config, cluster.alive).id
    return result
