"""The families that ship with the project: one module each, or a folder for several on one simulator.

A module has a family class with `name`, `version`, `spec`, `splits` and `make`. If it also has a vector environment,
`make` returns `SingleRowEnv(self, index, scene, render_mode)`. `registry` imports the module when its family is used.
"""
