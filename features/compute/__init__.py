"""From the log to features as of any moment: the plan, its kernels, and where they run."""
