"""From a shop's files to its log: staged, folded, proved, pruned; rejects, erasure and what obeys it."""
