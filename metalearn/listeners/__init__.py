"""Listeners of a training run: the console, the event log in its folder, MLflow.

Each takes the events of `training.events`. `progress` shows progress of any kind. No training code imports this.
"""
