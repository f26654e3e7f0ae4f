"""How often what the agreement rules call the same is the same."""
