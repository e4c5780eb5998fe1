"""The pictures, one module each. Every ``draw`` takes what it shows, by engine, and returns a figure."""
