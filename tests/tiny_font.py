"""A SoundFont of a single sine, written byte by byte, so that tests need no font's package.

E-mu Systems, SoundFont Technical Specification 2.04, 2006.
"""

import struct

import numpy as np

ROOT_KEY = 69
RATE = 44_100
N_PERIODS = 100
PERIOD = 100  # samples: 441 Hz
LOWEST, HIGHEST = 40, 90  # keys that programs have
SAMPLE_MODES, ROOT, KEY_RANGE, SAMPLE_ID, INSTRUMENT, ATTENUATION = 54, 58, 43, 53, 41, 48


def tiny_font(programs=(0, 73), lowest=LOWEST, highest=HIGHEST, attenuation=0):
    """Bytes of an .sf2 file whose programs all play the sine of 441 Hz at key 69, looped, between two keys."""
    sine = np.sin(2 * np.pi * np.arange(N_PERIODS * PERIOD) / PERIOD)
    samples = np.concatenate([np.round(16384 * sine), np.zeros(46)]).astype("<i2").tobytes()
    presets = [preset(f"Program {number}", number, bag) for bag, number in enumerate(programs)]
    presets.append(preset("EOP", 0, len(programs)))
    zones = [
        generator(KEY_RANGE, lowest | highest << 8),
        generator(ATTENUATION, attenuation),  # cB
        generator(SAMPLE_MODES, 1),  # looped
        generator(ROOT, ROOT_KEY),
        generator(SAMPLE_ID, 0),
    ]
    end = N_PERIODS * PERIOD
    headers = sample("Sine", 0, end, 0, end, RATE, ROOT_KEY) + sample("EOS", 0, 0, 0, 0, 0, 0)
    pdta = [
        chunk("phdr", b"".join(presets)),
        chunk("pbag", b"".join(struct.pack("<HH", bag, 0) for bag in range(len(programs) + 1))),
        chunk("pmod", bytes(10)),
        chunk("pgen", generator(INSTRUMENT, 0) * len(programs) + bytes(4)),
        chunk("inst", named("Sine") + struct.pack("<H", 0) + named("EOI") + struct.pack("<H", 1)),
        chunk("ibag", struct.pack("<HHHH", 0, 0, len(zones), 0)),
        chunk("imod", bytes(10)),
        chunk("igen", b"".join(zones) + bytes(4)),
        chunk("shdr", headers),
    ]
    info = chunk("ifil", struct.pack("<HH", 2, 4)) + chunk("isng", b"EMU8000\0") + chunk("INAM", b"Tiny\0\0")
    lists = chunk("LIST", b"INFO" + info) + chunk("LIST", b"sdta" + chunk("smpl", samples))
    return chunk("RIFF", b"sfbk" + lists + chunk("LIST", b"pdta" + b"".join(pdta)))


def chunk(name, content):
    return name.encode() + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def named(name):
    return name.encode().ljust(20, b"\0")


def preset(name, number, bag):
    return named(name) + struct.pack("<HHHIII", number, 0, bag, 0, 0, 0)


def generator(operator, amount):
    return struct.pack("<HH", operator, amount)


def sample(name, start, end, loop_start, loop_end, rate, root):
    return named(name) + struct.pack("<IIIIIBbHH", start, end, loop_start, loop_end, rate, root, 0, 0, 1)
