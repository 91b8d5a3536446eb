"""How a client is observed: log, events, health, statistics. Imports nothing above it."""
