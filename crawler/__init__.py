"""The Hub, or a folder, into the catalogue."""
