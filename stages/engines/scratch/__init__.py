"""A neural network library in NumPy alone, with PyTorch's names for the same things."""
