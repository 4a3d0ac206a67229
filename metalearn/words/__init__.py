"""Sentence encoders. `metalearn.data.sentences` finds them by name; nothing else imports them."""
