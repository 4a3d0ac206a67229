"""What is known: episodes, their spec, contexts of them, and recorded tasks on disk."""
