"""A neural network library in NumPy alone, with PyTorch's names and signatures for everything it has."""
