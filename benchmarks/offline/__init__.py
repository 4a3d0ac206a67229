"""Learners of others that learn from the same recorded episodes as a policy that is asked for a return.

Each has its own file, and imports its library when something is learnt.
"""
