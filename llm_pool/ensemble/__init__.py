"""Strategies: how a panel of models becomes one decision. The rule stands above, the async class below."""
