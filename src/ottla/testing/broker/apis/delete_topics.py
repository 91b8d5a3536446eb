"""DeleteTopics: gone at once, with their records and committed offsets; the same name later has a new topic id.

Versions: 1-5 by name, 6+ by name or id.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from ottla.testing.broker.call import Call

IDS_FROM = 6


async def handle(request: DeleteTopicsRequest, call: Call) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(responses=[_delete(topic, call) for topic in _asked(request, call)])


def refuse(request: DeleteTopicsRequest, call: Call, error: ErrorCode) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(
        responses=[
            DeletableTopicResult(name=topic.name, topic_id=topic.topic_id, error_code=error)
            for topic in _asked(request, call)
        ]
    )


def _asked(request: DeleteTopicsRequest, call: Call) -> list[DeleteTopicState]:
    if call.version >= IDS_FROM:
        return request.topics
    return [DeleteTopicState(name=name) for name in request.topic_names]


def _delete(asked: DeleteTopicState, call: Call) -> DeletableTopicResult:
    topics = call.cluster.topics
    if asked.name is None:
        topic, missing = topics.by_id.get(asked.topic_id), ErrorCode.UNKNOWN_TOPIC_ID
    else:
        topic, missing = topics.by_name.get(asked.name), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if topic is None:
        return DeletableTopicResult(name=asked.name, topic_id=asked.topic_id, error_code=missing)
    call.cluster.delete_topic(topic)
    return DeletableTopicResult(name=topic.name, topic_id=topic.id)
