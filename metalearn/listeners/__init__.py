"""Listeners of a training run: the console, the event log in its folder, MLflow.

Each takes the events of `training.events` and knows no other listener. No training code imports this.
"""
