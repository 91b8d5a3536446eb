"""Kafka's wire protocol: request and response classes, headers, error codes. No I/O, no threads.

One module per API in `messages/`, generated: `ottla.protocol.messages.metadata` has `MetadataRequest`,
`MetadataResponse` and the structs inside them, named as in Kafka's schemas. A struct name that request
and response of an API both use has the direction in front (`RequestCursor`, `ResponseCursor`). Import
the module of the API you use; `registry` finds classes by API key; `headers` makes and reads frames.
"""
