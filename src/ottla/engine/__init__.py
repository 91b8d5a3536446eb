"""The engine thread, its loop, and the tickets by which callers reach it. Knows no Kafka."""
