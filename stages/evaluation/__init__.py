"""Evaluation of predictions: metrics, tables and figures. Training imports none of it."""
