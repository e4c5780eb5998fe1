"""What the stages share. Nothing here knows an engine."""
