"""How we earn it: targets, training sets, fits, honest comparisons."""
