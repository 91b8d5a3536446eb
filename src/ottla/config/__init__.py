"""The configuration: one table per role, checked before anything starts. Leaf of the import tree; any thread.

`table.py` says what an option is, `common.py`, `batching.py`, `producer.py` and `consumer.py` are the tables with the rules
between their options, `readers.py` turns what the user gave into values, `check.py` reports every problem at once, `foreign.py` knows
what other clients call the options. The reference in `docs/reference/configuration.md` is written from the tables.

References: Java ProducerConfig, ConsumerConfig, CommonClientConfigs (names and defaults); librdkafka CONFIGURATION.md
(names that mean the same).
"""
