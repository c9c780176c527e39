"""The engine: patches in, audio out, bit for bit the same every time.

`zygote` is the program that renders, in a process of its own; `client` drives it; `faults` judges what came out;
`machine` names what the bytes depend on.
"""
