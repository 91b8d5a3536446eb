"""InitProducerId: an id and epoch for an idempotent producer.

Without a producer id a new one with epoch 0; with one (3+, KIP-360) the same id with the next epoch, or a new one once
the epochs are used up. Transactional ids are refused: there is no transaction coordinator. Version 6 is unstable in
Kafka 4.4 and not announced.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from ottla.testing.broker.call import Call

LAST_EPOCH = 0x7FFF - 1


async def handle(request: InitProducerIdRequest, call: Call) -> InitProducerIdResponse:
    if request.transactional_id is not None:
        return refuse(request, call, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    known = call.version >= 3 and request.producer_id >= 0
    if known and request.producer_epoch < LAST_EPOCH:
        return InitProducerIdResponse(
            producer_id=request.producer_id, producer_epoch=request.producer_epoch + 1
        )
    return InitProducerIdResponse(producer_id=call.cluster.new_producer_id(), producer_epoch=0)


def refuse(request: InitProducerIdRequest, call: Call, error: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=error, producer_id=-1, producer_epoch=-1)
