"""TLS: clients on listeners with certificates of every right and wrong kind."""
