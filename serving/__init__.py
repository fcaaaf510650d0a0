"""What we promise: scores, reasons, decisions, over HTTP and in bulk."""

import features  # noqa: F401  before any dependency: it tells them not to call home
