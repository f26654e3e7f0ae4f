"""The vocabulary: the values that travel, the events, the errors, the seams and the clock. Imports nothing of ours."""
