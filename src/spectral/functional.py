"""Pure, batched functions between waveform, spectrogram, decibels and 8-bit pixels.

Shapes: waveform `(..., time)`, spectrogram `(..., freq, time)`. Everything runs on the device of its input.
"""

import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import scipy  # loads its parts when they are first used
import torch
from torch import Tensor

from src.errors import ConfigError, InstallationError, check_number
from src.sections import as_tuple

try:
    import torchaudio.functional as AF
except (ImportError, OSError, RuntimeError) as error:  # its extension is for another PyTorch, or another CUDA
    found = find_spec("torchaudio")
    extensions = sorted(Path(found.origin).parent.glob("lib/_torchaudio*")) if found and found.origin else []
    advice = f"Delete {extensions[0]}: nothing here needs it" if extensions else "Delete .venv and run sh setup.sh"
    why, *_ = str(error).splitlines()
    raise InstallationError(
        f"torchaudio cannot be imported beside torch {torch.__version__} ({why}). {advice}."
    ) from error

# The usual windows, since scipy.signal takes longer to load than everything else that a small dataset needs.
_USUAL_WINDOWS: dict[str, Callable[..., Tensor]] = {
    "boxcar": torch.ones,
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
}
DB_FLOOR = -120.0  # dB full scale; below it float32 holds rounding noise only
MAX_PIXEL = 255


class Constants:
    """Numbers that are computed once, and kept on every device where they were used.

    To move them anew for each batch would make a GPU wait for the CPU each time.

    Args:
        tensor: The numbers.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._copies = {tensor.device: tensor}

    def on(self, device: torch.device) -> Tensor:
        """The numbers on a device."""
        if device not in self._copies:
            (tensor, *_) = self._copies.values()
            self._copies[device] = tensor.to(device)
        return self._copies[device]


def analysis_window(name: str | float | tuple[Any, ...], win_length: int) -> Tensor:
    """Periodic analysis window.

    Args:
        name: Any window of `scipy.signal.get_window`: `hann`, `boxcar` (rectangular), `("kaiser", 14.0)` …
        win_length: Samples.

    Returns:
        Window, float32, `(win_length,)`.
    """
    check_number("win_length", win_length, whole=True, least=1)
    if isinstance(name, str) and name in _USUAL_WINDOWS:
        return _USUAL_WINDOWS[name](win_length, dtype=torch.float64).float()

    try:
        return torch.from_numpy(scipy.signal.get_window(as_tuple(name), win_length)).float()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"window {name!r} is not one that scipy.signal.get_window knows: {error}") from error


def fit_hop_length(n_samples: int, win_length: int, n_frames: int, hop_multiple: int = 1) -> int:
    """The shortest hop with which `n_frames` windows cover `n_samples`, as a multiple of `hop_multiple` samples."""
    if n_frames == 1:
        return n_samples
    hop_length = math.ceil((n_samples - win_length) / (n_frames - 1))
    return max(1, math.ceil(hop_length / hop_multiple)) * hop_multiple


def stft(waveform: Tensor, weights: Tensor, n_fft: int, hop_length: int, n_frames: int, first: int = 0) -> Tensor:
    """Short-time Fourier transform, sum of w(n) x(first + t * hop_length + n) exp(-2 pi i f n / n_fft) over n.

    Allen and Rabiner, "A unified approach to short-time Fourier analysis and synthesis", Proc. IEEE 65, 1977.

    Args:
        waveform: `(..., time)`; half precision is upcast, since the FFT needs float32.
        weights: What a frame is multiplied with, `(win_length,)`.
        n_fft: FFT length, samples, at least `win_length`. Phases are those at the beginning of its frame.
        hop_length: Samples from frame to frame.
        n_frames: Frames to compute.
        first: Sample at which the first window begins; what lies before and past the sound is zero.

    Returns:
        Complex, `(..., n_fft // 2 + 1, n_frames)`.
    """
    before = (n_fft - weights.numel()) // 2  # the window stands in the middle of the FFT's frame
    start = before - first
    span = (n_frames - 1) * hop_length + n_fft
    padded = torch.nn.functional.pad(waveform.float(), (start, max(0, span - start - waveform.shape[-1])))[..., :span]
    padded_weights = torch.nn.functional.pad(weights.to(waveform.device), (before, n_fft - before - weights.numel()))
    # Frames out of a view: torch.stft takes a third longer for the same numbers.
    return torch.fft.rfft(padded.unfold(-1, n_fft, hop_length) * padded_weights).mT


def power_of(spectrum: Tensor) -> Tensor:
    """|X|^2, real, of the same shape."""
    # Not abs(): its square root would be squared away again, and takes as long as the FFT.
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)


def full_scale(weights: Tensor, window: Tensor) -> Tensor:
    """Weights scaled so that a sinusoid of amplitude 1 has power 1, that is, 0 dB full scale, in frames of the window.

    The factor is 2 over the sum of the window, its coherent gain (Harris, "On the use of windows for harmonic analysis
    with the discrete Fourier transform", Proc. IEEE 66, 1978).

    Args:
        weights: The window, or what is made from it, such as its derivative, `(win_length,)`.
        window: `(win_length,)`.
    """
    return weights * (2 / window.sum().item())


def mel_filterbank(
    n_freq: int, n_mels: int, f_min: float, f_max: float, sample_rate: int, norm: str | None, mel_scale: str
) -> Tensor:
    """Triangular mel filters, as torchaudio's `melscale_fbanks` makes them.

    Scales: 2595 log10(1 + f / 700) (`htk`: O'Shaughnessy, Speech Communication: Human and Machine, 1987), and linear
    below 1 kHz, logarithmic above (`slaney`: Slaney, Auditory Toolbox, Interval Research TR 1998-010).

    Args:
        n_freq: Bins of the spectrogram, `n_fft // 2 + 1`.
        n_mels: Bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz.
        sample_rate: Hz.
        norm: `slaney` (each band's area is 1 over frequency) or None (each peak is 1).
        mel_scale: `htk` or `slaney`.

    Returns:
        Weights, `(n_mels, n_freq)`.

    Raises:
        ConfigError: If a band is empty, or the frequencies make no sense.
    """
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ConfigError(
            f"f_min {f_min} Hz, f_max {f_max} Hz: 0 <= f_min < f_max <= {sample_rate / 2} Hz is required."
        )
    if norm not in (None, "slaney") or mel_scale not in ("htk", "slaney"):
        raise ConfigError(
            f"mel norm {norm!r}, scale {mel_scale!r}: norm is null or slaney, mel_scale is htk or slaney."
        )
    with warnings.catch_warnings():  # empty bands are refused below
        warnings.filterwarnings("ignore", message="At least one mel filterbank", category=UserWarning)
        filters = AF.melscale_fbanks(n_freq, f_min, f_max, n_mels, sample_rate, norm, mel_scale).mT.contiguous()
    empty = (filters.amax(dim=1) == 0).nonzero().flatten().tolist()
    if empty:
        raise ConfigError(
            f"{len(empty)} of {n_mels} mel bands are empty (the first is {empty[0]}): {n_freq} bins up to "
            f"{sample_rate / 2} Hz are too coarse. Raise n_fft or f_min, or take fewer bands."
        )
    return filters


def log_filterbank(
    window: Tensor, n_fft: int, n_rows: int, f_min: float, bins_per_octave: int, sample_rate: int
) -> Tensor:
    """Triangles on a logarithmic scale of frequency: a harmonic lies the same number of rows above every fundamental.

    Row r has its centre at f_min 2^(r / bins_per_octave), as the bins of a constant-Q transform (Brown, "Calculation of
    a constant Q spectral transform", J. Acoust. Soc. Am. 89, 1991), and reaches to the centres of its neighbours. Where
    these are nearer than a bin of the FFT it reaches a bin to both sides, so that it interpolates between two bins. A
    sinusoid of amplitude 1 at the centre of a row has power 1 there.

    Args:
        window: Of the STFT, `(win_length,)`.
        n_fft: FFT length, samples.
        n_rows: Rows.
        f_min: Centre of the first row, Hz.
        bins_per_octave: Rows to the octave.
        sample_rate: Hz.

    Returns:
        Weights of the bins' power, `(n_rows, n_fft // 2 + 1)`.

    Raises:
        ConfigError: If the rows reach below 0 or beyond half the sample rate.
    """
    centre = log_centres(n_rows + 2, f_min * 2 ** (-1 / bins_per_octave), bins_per_octave)  # with a row to both sides
    bin_width = sample_rate / n_fft  # Hz
    if centre[1] < bin_width or centre[-1] > sample_rate / 2:
        raise ConfigError(
            f"f_min {f_min} Hz and {n_rows} rows, {bins_per_octave} to the octave, reach up to {centre[-1]:.1f} Hz; "
            f"{bin_width:.1f} to {sample_rate / 2} Hz is possible. Take fewer rows, or another f_min."
        )
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * bin_width
    offset = bins - centre[1:-1, None]  # (row, bin), Hz
    reach = centre.diff().clamp(min=bin_width)[:, None]  # to the row below, and from the last one to that above
    triangles = (1 - torch.where(offset < 0, -offset / reach[:-1], offset / reach[1:])).clamp(min=0)
    time = torch.arange(window.numel(), dtype=torch.float64) / sample_rate
    sinusoids = window.double() * torch.exp(2j * math.pi * centre[1:-1, None] * time)
    lobes = power_of(torch.fft.fft(sinusoids, n_fft))[:, : n_fft // 2 + 1] / window.double().sum().square()
    return (triangles / (triangles * lobes).sum(dim=1, keepdim=True)).float()


def log_centres(n_rows: int, f_min: float, bins_per_octave: int) -> Tensor:
    """Centres of the rows of `log_filterbank`, Hz, float64, `(n_rows,)`; arguments as there."""
    return f_min * 2 ** (torch.arange(n_rows, dtype=torch.float64) / bins_per_octave)


def power_to_db(power: Tensor, top_db: float) -> tuple[Tensor, Tensor, Tensor]:
    """Power in decibels, each spectrogram limited to `top_db` under its own maximum.

    Args:
        power: `(..., freq, time)`.
        top_db: Dynamic range, dB.

    Returns:
        Decibels, `(..., freq, time)`; the lowest and the highest level that they may take, `(...,)` each.
    """
    db = 10 * torch.log10(power.clamp(min=10 ** (DB_FLOOR / 10)))
    spec_max = db.amax(dim=(-2, -1))
    spec_min = (spec_max - top_db).clamp(min=DB_FLOOR)
    return db.maximum(spec_min[..., None, None]), spec_min, spec_max


def quantize_db(db: Tensor, spec_min: Tensor, spec_max: Tensor) -> Tensor:
    """Decibels to pixels: 0 at `spec_min`, 255 at `spec_max`, rounded half to even.

    Args:
        db: `(..., freq, time)`.
        spec_min: dB, `(...,)`.
        spec_max: dB, `(...,)`; where it equals `spec_min` the image is 0.

    Returns:
        uint8, `(..., freq, time)`.
    """
    span = (spec_max - spec_min)[..., None, None]
    scale = torch.where(span > 0, MAX_PIXEL / span, 0.0)
    return ((db - spec_min[..., None, None]) * scale).round().clamp(0, MAX_PIXEL).to(torch.uint8)


def dequantize_db(pixel: Tensor, spec_min: Tensor, spec_max: Tensor) -> Tensor:
    """Pixels to decibels, the inverse of `quantize_db` to within half a level.

    Args:
        pixel: uint8, `(..., freq, time)`.
        spec_min: dB, `(...,)`.
        spec_max: dB, `(...,)`.

    Returns:
        Decibels, float32, `(..., freq, time)`.
    """
    span = (spec_max - spec_min)[..., None, None]
    return spec_min[..., None, None] + pixel.float() * (span / MAX_PIXEL)


def pre_emphasize(waveform: Tensor, coefficient: float) -> Tensor:
    """First difference y[n] = x[n] - coefficient * x[n - 1], `(..., time)`."""
    return AF.preemphasis(waveform, coefficient) if coefficient else waveform


def griffin_lim(magnitude: Tensor, window: Tensor, n_fft: int, hop_length: int, n_iter: int, length: int) -> Tensor:
    """Waveform whose STFT has the given magnitude, by Griffin and Lim (1984) with momentum (Perraudin et al. 2013).

    Args:
        magnitude: Amplitudes, `(..., n_fft // 2 + 1, frame)`, frames centred on multiples of `hop_length`.
        window: `(win_length,)`.
        n_fft: Samples.
        hop_length: Samples.
        n_iter: Iterations.
        length: Samples of the result.

    Returns:
        Waveform, `(..., length)`. Phases begin at zero, so that the result is always the same.
    """
    return AF.griffinlim(
        magnitude * window.sum() / 2,
        window=window,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=window.numel(),
        power=1.0,
        n_iter=n_iter,
        momentum=0.99,
        length=length,
        rand_init=False,
    )
