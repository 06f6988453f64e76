"""PostgreSQL: tables, sessions, queries."""
