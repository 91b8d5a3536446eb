"""Where engine, cluster and roles are put together; owns the order of start, flush and close.

A client belongs to one public object (`Producer`, `Consumer`, …) and is all that this object calls. Public methods run
on the caller's thread or event loop; what they need of the engine goes through tickets.
"""
