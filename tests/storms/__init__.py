"""Storms: many runs against a real broker, each judged by what the broker has afterwards."""
