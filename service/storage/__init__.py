"""The database with its tables and migrations, and content-addressed episodes on a folder or any fsspec URL.

Here belongs what several rooms store by. What an adaptation, a model or a training job stores is in that room's
repository.
"""
