"""What each strategy is worth on recorded answers of real models."""
