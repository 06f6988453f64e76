"""What the catalogue knows, written for other programs: one file per format."""
