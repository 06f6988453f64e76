"""The application: the only place that joins crawler, lineage and db."""
