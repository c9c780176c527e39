"""Vital: what the synth is, and all that would change with another one.

`controls` names its controls, `patch` holds their values, `reading` makes patches of preset files, `wavetable`,
`catalog` and `builtin` know what its oscillators play, `activity` what can be heard.
"""
