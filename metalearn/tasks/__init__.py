"""Families of tasks: Gymnasium environments with experts, and running actors in them."""
