#!/bin/sh
# Makes the environment in .venv, once: run again, it does nothing until requirements.txt or this file changes.
#
#   PYTHON=python3.12 sh setup.sh     another interpreter (3.11 or newer)
#   TORCH_INDEX_URL=... sh setup.sh   another package index for torch and torchaudio (CPU or CUDA builds)
#   NO_UV=1 sh setup.sh               venv and pip, although uv is there
set -eu
cd "$(dirname "$0")"

venv=.venv
stamp=$venv/.installed
wanted=$(cat requirements.txt setup.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "The environment in $venv is up to date."
    exit 0
fi

find_python() {
    for candidate in ${PYTHON:-python3.11 python3 python python3.12 python3.13}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup.sh: no Python 3.11 or newer found${PYTHON:+ under the name $PYTHON}. Install one, or name it: PYTHON=/path/to/python sh setup.sh" >&2
    return 1
}

python=$(find_python)
if [ -z "${NO_UV:-}" ] && command -v uv >/dev/null 2>&1; then
    installer="uv pip install --quiet --python $venv/bin/python"
    # uv does not read pip's configuration; wheels that pip would find on disk are shown to it.
    links=$("$python" -m pip config list 2>/dev/null | sed -n "s/.*find-links='\(.*\)'/\1/p" | tr '\n ' ',,' | sed 's/,*$//')
    if [ -n "$links" ]; then
        export UV_FIND_LINKS="${UV_FIND_LINKS:+$UV_FIND_LINKS,}$links"
    fi
    uv venv --quiet --allow-existing --python "$python" "$venv"
else
    installer="$venv/bin/python -m pip install --quiet --disable-pip-version-check"
    "$python" -m venv "$venv"
fi

echo "Installing PyTorch into $venv ..."
$installer ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' requirements.txt)"
if [ -n "${TORCH_INDEX_URL:-}" ]; then
    $installer --index-url "$TORCH_INDEX_URL" --no-deps "$(grep '^torchaudio==' requirements.txt)"
fi
echo "Installing the other packages ..."
$installer -r requirements.txt
# The project itself, so that `from src…` works from any directory.
$installer --no-deps --editable .

# torchaudio's Linux wheel carries an extension that is linked against CUDA. Beside a CPU-only torch it cannot be loaded and
# makes the import fail; without the file torchaudio says that it has no extension, and every transform works.
if ! "$venv/bin/python" -c 'import torchaudio' 2>/dev/null && "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)'; then
    for extension in "$venv"/lib/python3*/site-packages/torchaudio/lib/_torchaudio*.so; do
        if [ -f "$extension" ]; then
            echo "Removing $extension: it needs CUDA, and the torch here has none."
            rm "$extension"
        fi
    done
fi
"$venv/bin/python" -c 'import torch, torchaudio, lightning'

printf '%s' "$wanted" >"$stamp"
echo "Done. Activate with: . $venv/bin/activate"
