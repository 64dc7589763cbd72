#!/bin/sh
# Makes the environment in .venv, once: run again, it does nothing until requirements.txt, this file or what it is asked
# for changes.
#
#   PYTHON=python3.12 sh setup.sh     another interpreter (3.11 to 3.13)
#   TORCH_INDEX_URL=... sh setup.sh   another package index for torch and torchaudio (CPU or CUDA builds)
#   NO_UV=1 sh setup.sh               venv and pip, although uv is there
#   SOUNDFONT=1 sh setup.sh           tinysoundfont as well: notes of real instruments (make sdsf)
#   LINKER=1 sh setup.sh              ziglang as well: a linker of WebAssembly, where none is installed (100 MB)
#   PEERS=1 sh setup.sh               the pitch trackers that make peers measures beside: swift-f0, basic-pitch, Praat
#
# What is not named stays as it is in the environment that is there. Another interpreter or index makes it anew.
#
# Where an NVIDIA driver is, numba-cuda is installed as well, which renders sounds on the GPU.
set -eu
cd "$(dirname "$0")"

venv=.venv
stamp=$venv/.installed
made_of=$venv/.made-of # the interpreter, and the index of torch
extras_of=$venv/.extras # what was asked for beside the usual packages
# Without their dependencies: pyaudio wants the headers of portaudio, and of basic-pitch the network is used alone.
soundfont="tinysoundfont==0.3.7"
linker="ziglang==0.17.1"
peers="swift-f0==0.3.0 basic-pitch==0.4.0 praat-parselmouth==0.4.7"

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

case $(uname -s) in
    CYGWIN* | MINGW* | MSYS*) fail "Windows is not supported. Use Linux in WSL 2, by the same commands: wsl --install" ;;
esac

# Version and home of an interpreter; an environment has those of the interpreter that made it.
interpreter() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3], sys.base_prefix)' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- "$venv/bin/python" python3.11 python3 python python3.12 python3.13
    fi
    for candidate in "$@"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found${PYTHON:+ under the name $PYTHON}. Install one, or name it: PYTHON=/path/to/python sh setup.sh"
}

python=$(find_python)
index=${TORCH_INDEX_URL:-}
if [ -z "$index" ] && [ -f "$made_of" ]; then
    index=$(sed -n 2p "$made_of")
fi
driver=
if command -v nvidia-smi >/dev/null 2>&1 || [ -e /proc/driver/nvidia ]; then
    driver=nvidia
fi
extras=$(cat "$extras_of" 2>/dev/null || true)
for name in ${SOUNDFONT:+soundfont} ${LINKER:+linker} ${PEERS:+soundfont peers}; do
    case " $extras " in *" $name "*) ;; *) extras="${extras:+$extras }$name" ;; esac
done
wanted_of=$(interpreter "$python" && echo "$index")
wanted=$( (cat requirements.txt setup.sh && echo "$wanted_of$driver$extras") | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "The environment in $venv is up to date."
    exit 0
fi

clear=
if [ -e "$venv/bin/python" ]; then
    if [ "$(interpreter "$venv/bin/python")" != "$(interpreter "$python")" ] ||
        { [ -f "$made_of" ] && [ "$(cat "$made_of")" != "$wanted_of" ]; }; then
        echo "Making $venv anew, with Python $(interpreter "$python")${index:+ and torch from $index}."
        clear=--clear
    fi
fi
if [ -z "${NO_UV:-}" ] && command -v uv >/dev/null 2>&1; then
    installer="uv pip install --quiet --python $venv/bin/python"
    # uv does not read pip's configuration; wheels that pip would find on disk are shown to it.
    links=$("$python" -m pip config list 2>/dev/null | sed -n "s/.*find-links='\(.*\)'/\1/p" | tr '\n ' ',,' | sed 's/,*$//')
    if [ -n "$links" ]; then
        export UV_FIND_LINKS="${UV_FIND_LINKS:+$UV_FIND_LINKS,}$links"
    fi
    uv venv --quiet "${clear:---allow-existing}" --python "$python" "$venv"
else
    installer="$venv/bin/python -m pip install --quiet --disable-pip-version-check"
    if [ -n "$clear" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv $clear "$venv"
    fi
fi
printf '%s\n' "$wanted_of" >"$made_of"

echo "Installing PyTorch into $venv ..."
$installer ${index:+--index-url "$index"} "$(grep '^torch==' requirements.txt)"
if [ -n "$index" ]; then
    $installer --index-url "$index" --no-deps "$(grep '^torchaudio==' requirements.txt)"
fi
echo "Installing the other packages ..."
$installer -r requirements.txt
# The project itself, so that `from src…` works from any directory.
$installer --no-deps --editable .

for name in $extras; do
    eval "packages=\$$name"
    echo "Installing $packages ..."
    $installer --no-deps $packages
done
printf '%s\n' "$extras" >"$extras_of"

# numba-cuda for the CUDA that torch was built for. Everything works without it, so that nothing fails if it is not there.
if [ -n "$driver" ]; then
    cuda=$("$venv/bin/python" -c 'import torch; print((torch.version.cuda or "").partition(".")[0])' 2>/dev/null || true)
    if [ -z "$cuda" ]; then
        echo "An NVIDIA driver is here, but this torch is a build for the CPU: sounds will be rendered on the CPU."
    else
        echo "Installing numba-cuda, since an NVIDIA driver is here ..."
        $installer "numba-cuda[cu$cuda]==0.30.4" ||
            echo "numba-cuda could not be installed: sounds will be rendered on the CPU, all else works. To try again: $installer 'numba-cuda[cu$cuda]==0.30.4'"
    fi
fi

# torchaudio has a compiled extension that must suit the torch beside it, down to the version of CUDA. Where it cannot be
# loaded, the import of torchaudio fails. Nothing here needs it; without the file torchaudio says that it has no
# extension, and every transform works.
if "$venv/bin/python" -c 'import torch' 2>/dev/null && ! "$venv/bin/python" -c 'import torchaudio' 2>/dev/null; then
    for extension in "$venv"/lib/python3*/site-packages/torchaudio/lib/_torchaudio*.so; do
        if [ -f "$extension" ]; then
            echo "Removing $extension: it cannot be loaded beside the torch here, and nothing needs it."
            rm "$extension"
        fi
    done
fi
if ! said=$("$venv/bin/python" -c 'import torch, torchaudio, lightning' 2>&1); then
    fail "torch, torchaudio and lightning cannot be imported together ($(echo "$said" | tail -n 1)). Delete $venv and run this again; TORCH_INDEX_URL names an index of builds that suit this machine."
fi

printf '%s' "$wanted" >"$stamp"
echo "Done. Activate with: . $venv/bin/activate"
