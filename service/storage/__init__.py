"""The database with its tables and migrations, and the content-addressed store of episodes.

Code that several packages need to store anything belongs here. The queries of adaptations, models and training jobs
belong in their own packages.
"""
