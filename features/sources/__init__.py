"""Where logs come from: one module a source."""
