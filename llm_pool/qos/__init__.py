"""Policies: a Provider around a Provider."""
