"""What the stages share. Nothing here computes with a network."""
