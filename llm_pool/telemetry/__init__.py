"""What the daemon tells of itself: logs, metrics, traces. Each is an observer and loads its library when it is made."""
