"""Whether it still holds."""
