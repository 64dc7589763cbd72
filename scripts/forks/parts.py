"""The parts of this project that a fork can do without: what each owns, and the words that speak of it."""

import fnmatch
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Part:
    """Something that can be taken out.

    Attributes:
        name: What KEEP calls it.
        what: What it is, in a few words.
        paths: Patterns of the files that are of this part alone.
        words: Regular expression of what speaks of it: names in code, options, words in texts. None is left in a fork
            without the part.
        needs: Parts that it cannot do without.
    """

    name: str
    what: str
    paths: tuple[str, ...]
    words: str
    needs: tuple[str, ...] = ()


PARTS = (
    Part(
        "moog",
        "the synth with a Moog ladder filter, its three datasets and its experiments",
        (
            "configs/data/moog_*.yaml",
            "configs/experiment/moog_*.yaml",
            "configs/synth/generate_moog_*.yaml",
            "docs/oversampling.png",
            "scripts/draw_oversampling.py",
            "tests/data/compat/*moog*",
            "tests/synth/test_extremes.py",
            "tests/synth/test_moog.py",
        ),
        r"(?i:moog|oversampl|decimat)|\bladder|\bcompat_b\b|\b(basic|envelope|resonance|swept) sets?\b",
    ),
    Part(
        "vit",
        "vision transformers",
        (
            "configs/model/vit*.yaml",
            "docs/networks/vit_*.svg",
            "src/models/components/vit.py",
            "tests/data/compat/compat_b.ckpt",
            "tests/models/test_vit.py",
        ),
        r"(?<![a-z])vit(?![a-z])|ViT|VisionTransformer|\b[Tt]ransformers?\b|\bcompat_b\b",
    ),
    Part(
        "convnext",
        "ConvNeXt networks",
        (
            "configs/model/convnext_*.yaml",
            "docs/networks/convnext_*.svg",
            "src/models/components/convnext.py",
            "tests/models/test_convnext.py",
        ),
        r"(?i:convnext)",
    ),
    Part(
        "mlp",
        "networks of one hidden layer or none, as baselines",
        (
            "configs/model/mlp*.yaml",
            "docs/networks/mlp*.svg",
            "src/models/components/mlp.py",
            "tests/models/test_mlp.py",
        ),
        r"components[./]mlp|\bmlp\.MLP\b|\bmlp_linear\b|[\"'`]mlp[\"'`]|\bmodel=mlp\b",
    ),
    Part(
        "conv6",
        "the large reference after InverSynth",
        (
            "configs/model/conv6.yaml",
            "docs/networks/conv6.svg",
            "src/models/components/conv6.py",
            "tests/models/test_conv6.py",
        ),
        r"(?i:conv6)",
    ),
    Part(
        "wave",
        "networks end to end on samples or bits, without a spectrogram",
        (
            "configs/data/vimh_256dss_waveform.yaml",
            "configs/experiment/wave.yaml",
            "configs/model/wave_*.yaml",
            "configs/representation/bits.yaml",
            "configs/representation/waveform*.yaml",
            "docs/networks/wave_*.svg",
            "src/models/components/wave_cnn.py",
            "src/spectral/waveform.py",
            "tests/models/test_wave_cnn.py",
            "tests/spectral/test_waveform.py",
        ),
        r"wave_cnn|WaveCNN|BitStream|Waveform16|spectral[./]waveform|"
        r"\brepresentation[=/](waveform(16)?|bits)\b|"
        r"[Ee]nd[ -]to[ -]end networks?|networks? end[ -]to[ -]end",
    ),
    Part(
        "words",
        "spoken words: networks after BC-ResNet, Speech Commands, and a set that espeak-ng speaks",
        (
            "configs/experiment/speech_commands.yaml",
            "configs/model/bc_resnet*.yaml",
            "docs/networks/bc_resnet_*.svg",
            "docs/results/words.json",
            "docs/words.md",
            "scripts/speech_commands.py",
            "scripts/words.py",
            "src/models/components/bc_resnet.py",
            "tests/models/test_bc_resnet.py",
            "tests/scripts/test_speech_commands.py",
            "tests/scripts/test_words.py",
            "tests/speech_corpus.py",
        ),
        r"(?i:bc[-_]?resnet)|BroadcastBlock|SubSpectralNorm|\bspeech_(corpus|commands\.main|commands_)|"
        r"import speech_commands|pack_speech|\bespeak|\bwords\.(py|md)\b|\bmake (sc|wd)\b|[Kk]nown words",
    ),
    Part(
        "channels",
        "channels beside the spectrogram but for other windows: envelopes, modulation, phase",
        (
            "configs/channels/[!w]*.yaml",
            "docs/channels.md",
            "docs/channels.png",
            "scripts/draw_channels.py",
            "tests/spectral/test_channels.py",
        ),
        r"\b(group_delay|instantaneous_frequency|spectral_envelope|temporal_envelope)\b|"
        r"\b(GroupDelay|InstantaneousFrequency|Modulation|Normalized|SpectralEnvelope|TemporalEnvelope)\b|"
        r"[\"']modulation\b|\bchannels\.modulation\b|\bmodulation twice\b",
    ),
    Part(
        "digits",
        "scikit-learn's handwritten digits, as an example of pictures",
        ("configs/data/digits.yaml", "configs/experiment/digits.yaml"),
        r"make_digits|load_digits|digits_1p|handwritten|[\"'`]digits[\"'`]|\bexperiment=digits\b|scikit-learn's digits",
    ),
    Part(
        "trivial",
        "more experiments on the saw sets",
        ("configs/experiment/cnn.yaml", "configs/experiment/trivial_*.yaml"),
        r"\btrivial_(small|large|\{)|trivial[- ](micro|tiny|all|experiments)|\bexperiment=cnn\b",
    ),
    Part(
        "study",
        "the study of representations",
        (
            *("docs/study/*", "scripts/study.py", "scripts/study_page.py", "scripts/compute_study.py"),
            *("scripts/compute_page.py", "tests/scripts/test_study.py", "tests/scripts/test_compute_study.py"),
        ),
        r"\bstudy(\.py|_page|/index|/compute)|\bdocs/study\b|\bscripts\.(compute_)?study\b|\bcompute_(study|page)\b|"
        r"\[[Tt]he study|\bstudy of representations\b",
        needs=("moog", "mlp", "wave", "channels", "benchmarks"),
    ),
    Part(
        "benchmarks",
        "the table of results and the measurements of speed",
        (
            "docs/benchmarks.md",
            "docs/results.md",
            "docs/results/[!fpw]*",
            "docs/robustness.md",
            "docs/sim_to_real.md",
            "docs/summary.md",
            "scripts/bench.py",
            "scripts/bench_gpu.py",
            "scripts/benchmark_models.py",
            "scripts/budgets.py",
            "scripts/references.py",
            "scripts/budgets_page.py",
            "scripts/gpu_page.py",
            "scripts/gpu_parts/*",
            "scripts/gpu_wheels",
            "scripts/results_page.py",
            "scripts/robustness.py",
            "scripts/sim_to_real.py",
            "scripts/summary.py",
            "tests/scripts/test_bench.py",
            "tests/scripts/test_bench_gpu.py",
            "tests/scripts/test_benchmark_models.py",
            "tests/scripts/test_budgets.py",
            "tests/scripts/test_references.py",
            "tests/scripts/test_gpu_page.py",
            "tests/scripts/test_robustness.py",
            "tests/scripts/test_sim_to_real.py",
        ),
        r"\bbenchmark_models\b|\bbudgets(\.py|_page)\b|\bbench\.py|\bbenchmarks\.md|\bresults_page\b|\bpedalboard\b|\bresults\.md|"
        r"\bbench[-_]gpu\b|\bgpu_(page|parts|wheels)\b|\bMeasure a GPU\b|\brobustness\b|\bsim[-_]to[-_]real\b",
        needs=("moog", "vit", "convnext", "mlp", "conv6", "wave", "trivial", "digits"),
    ),
    Part(
        "play_page",
        "the live page as a folder that needs no Python, and the voices as WebAssembly",
        (
            "configs/play_page.yaml",
            "docs/play_page.md",
            "scripts/time_play_page.py",
            "src/instrument/static/*",
            "src/play_page.py",
            "src/synth/wasm.py",
            "src/tasks/play_page.py",
            "tests/instrument/test_static_*.py",
            "tests/synth/test_wasm.py",
        ),
        r"\bplay[-_]page\b|\bplp\b|\bsynth[./]wasm\b|`wasm\.py`|\bwasm-ld\b|\blld\b|`static/`",
        needs=("moog",),
    ),
    Part(
        "campaign",
        "the campaign of faults",
        ("scripts/campaign.py", "scripts/faults/rows.py", "tests/scripts/test_campaign.py"),
        r"\b[Cc]ampaign\b|faults[./]rows|\bHow it is tried\b",
    ),
    Part(
        "migration",
        "names and files of earlier versions",
        (
            "docs/migration.md",
            "src/programs/old_names.py",
            "tests/data/compat/*_expected.npz",
            "tests/programs/test_old_names.py",
            "tests/test_compat.py",
        ),
        r"--spectral\b|\bold_names\b|\banswer_to_old_name\b|\bmigration\.md|\btest_compat\b",
    ),
)
# Of this template alone: no fork has it.
TEMPLATE = Part(
    "template",
    "what makes forks, and the history of this template",
    (
        "CHANGELOG.md",
        "scripts/draw_device.py",
        "scripts/draw_overview.py",
        "scripts/forks/*",
        "scripts/start.py",
        "tests/scripts/test_draw_device.py",
        "tests/scripts/test_start.py",
    ),
    r"\bvalue (NAME|KEEP)\b|\bscripts/start\b|\bmake (start|fork)\b|"
    r"\bscripts[./]forks\b|\bdraw_(overview|device)\b|\bCHANGELOG\b",
)
BY_NAME = {part.name: part for part in PARTS}
# Where every file is of one part or kept.
GOVERNED = ("configs/model", "configs/synth", "configs/experiment", "configs/representation", "src/models/components")
KEPT = (
    "configs/experiment/example.yaml",
    "configs/experiment/family.yaml",
    "configs/experiment/pitch.yaml",
    "configs/model/cnn*.yaml",
    "configs/model/default.yaml",
    "configs/model/harmonic*.yaml",
    "configs/representation/log_frequency.yaml",
    "configs/representation/stft.yaml",
    "configs/representation/mel.yaml",
    "configs/synth/generate_family.yaml",
    "configs/synth/generate_pitch.yaml",
    "configs/synth/generate_simple_saw.yaml",
    "configs/synth/generate_soundfont.yaml",
    "src/models/components/__init__.py",
    "src/models/components/cnn.py",
    "src/models/components/conditioning.py",
    "src/models/components/harmonic.py",
    "src/models/components/network.py",
)


def with_needs(names: Iterable[str]) -> set[str]:
    """Names of parts, and of those that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += set(BY_NAME[name].needs) - found
    return found


def parts_to_remove(kept: Collection[str]) -> list[Part]:
    """All parts but those to keep, and the template's own."""
    return [*(part for part in PARTS if part.name not in kept), TEMPLATE]


def owned(part: Part, paths: Iterable[str]) -> list[str]:
    """The paths that match a pattern of the part; a star matches slashes too."""
    return [path for path in paths if any(fnmatch.fnmatchcase(path, pattern) for pattern in part.paths)]


def words_of(parts: Iterable[Part], gone: Iterable[str]) -> str:
    """Regular expression of what speaks of parts, or of files that are gone.

    Args:
        parts: Those that go.
        gone: Paths of their files: a configuration is spoken of as `group=option` and by its path, a module by its
            dotted name, other files by their paths.
    """
    words = [part.words for part in parts]
    options: dict[str, list[str]] = {}
    for path in map(PurePosixPath, sorted(gone)):
        if path.parts[0] == "configs" and len(path.parts) == 3:
            options.setdefault(path.parts[1], []).append(path.stem)
        elif path.suffix == ".py" and path.parts[0] in ("src", "scripts"):
            words.append(rf"\b{'[./]'.join(path.with_suffix('').parts)}\b")
    for group, stems in options.items():
        words.append(rf"\b{group}(?:=\[?|/|: )(?:{'|'.join(stems)})\b(?!\.\w)")
    return "|".join(f"(?:{word})" for word in words)
