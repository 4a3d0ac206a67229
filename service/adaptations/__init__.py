"""Adaptations as data: creating, extending, forking and acting with them, and the episodes that the server records.

Here belongs what is true of an adaptation whoever asks for it. Knows neither HTTP nor how models are computed.
"""
