"""How a network is trained: the loop that both engines share, and what it needs."""
