"""Connections: dialled, negotiated, asked, lost. Bytes go through the I/O thread."""
