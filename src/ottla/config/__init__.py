"""The configuration: one table per role, checked before anything starts. Leaf of the import tree; any thread.

`table.py` defines an option; `common.py`, `batching.py`, `producer.py` and `consumer.py` are the tables with the rules between
their options; `readers.py` converts given values; `check.py` reports every problem at once; `foreign.py` explains names that users of
other clients give, from the data in `foreign_options.py`. `docs/reference/configuration.md` is generated from the tables.

References: Java ProducerConfig, ConsumerConfig, CommonClientConfigs (names and defaults); librdkafka CONFIGURATION.md
(names that mean the same).
"""
