"""Work in the queue: what a fleet of workers does on one database, each task small, idempotent and queued once."""
