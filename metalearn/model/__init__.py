"""The conditional policy, in pure torch: contexts to beliefs, beliefs and observations to actions."""
