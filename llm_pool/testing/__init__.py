"""Public fakes: what a test plays the outside world with."""
