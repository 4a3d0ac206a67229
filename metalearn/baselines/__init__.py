"""The same verb by other means: what the conditional policy is compared with."""
