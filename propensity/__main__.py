"""`python -m propensity`."""

from propensity import main

main()
