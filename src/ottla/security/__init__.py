"""TLS of a client: its files, the context of its connections, and the texts about their problems.

`sources` reads the options' files and texts, `system_trust` the certificates of the system, `client_tls` keeps the context of a client
and replaces it when the content of its files changes, `problems` and `failures` have the words. Leaf: knows no Kafka; loaded only by
clients with TLS.
"""
