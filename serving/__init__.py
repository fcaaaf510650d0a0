"""What we promise: scores, reasons, decisions, over HTTP and in bulk."""
