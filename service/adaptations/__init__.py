"""Adaptations: create, extend, fork, export and act with them, and record episodes.

The rules that hold for every interface belong here. HTTP belongs in `api`, the computation of models in `inference`.
"""
