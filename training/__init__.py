"""How we earn it: targets, training sets, fits, honest comparisons."""

import features  # noqa: F401  before any dependency: it tells them not to call home
