"""The engine: patches in, audio out, bit for bit the same every time.

`zygote` is the program that renders, in a process of its own; `client` drives it, in the words of `protocol` and
`rendering`. `faults` judges what comes out, and `machine` names what the bytes depend on.
"""
