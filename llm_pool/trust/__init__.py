"""What is learned about each provider: the model of trust, its file, and how feedback and decisions teach it."""
