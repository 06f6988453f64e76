"""Weights into measurements into trees."""
