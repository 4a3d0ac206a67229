"""Meta-training: one gradient step, and the loop around it."""
