"""Kafka's wire protocol: request and response classes, headers, error codes. No I/O, no threads."""
