"""The kinds and the severities of findings, for whoever names them without making any: help must come at once."""

from __future__ import annotations

KINDS = (
    "more-permissive", "non-commercial", "no-derivatives", "share-alike", "attribution", "naming", "missing",
    "incompatible", "unclear",
)  # fmt: skip
SEVERITIES = ("conflict", "duty", "read")  # contradicts a licence, asks for something to be done, is to be read
