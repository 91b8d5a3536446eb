"""Clients: each builds engine, cluster and a role, and owns the order of start, flush and close.

A client belongs to one public object (`Producer`, `Consumer`, …) and this object calls nothing else. Public methods run
on the caller's thread or event loop, and reach the engine through tickets.
"""
