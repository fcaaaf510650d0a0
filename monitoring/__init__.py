"""Whether it still holds."""

import features  # noqa: F401  before any dependency: it tells them not to call home
