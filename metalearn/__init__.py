"""Meta-training of a policy that conditions on demonstrations and on its own scored trials."""

__version__ = "0.1.0"
