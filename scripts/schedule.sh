#!/usr/bin/env bash
# Trains several runs one after another. Each line of the files named, or of standard input, holds the overrides of one run;
# empty lines and those that begin with # count for nothing. A run that fails does not stop the next ones; the exit code
# is 1 then. Ctrl-C ends the schedule.
#
#   scripts/schedule.sh runs.txt
#   scripts/schedule.sh <<END
#   experiment=example model=cnn_micro
#   experiment=example model=cnn_tiny trainer.max_epochs=50
#   END
set -uo pipefail
interrupted=130
failed=()

schedule=$(cat "$@") || exit 1
cd "$(dirname "$0")/.."
while read -r -a overrides <&3; do
    case "${overrides[0]:-#}" in "#"*) continue ;; esac
    echo "+ src/train.py ${overrides[*]}"
    "${PYTHON:-.venv/bin/python}" src/train.py "${overrides[@]}"
    code=$?
    if [ "$code" -eq "$interrupted" ]; then exit "$interrupted"; fi
    if [ "$code" -ne 0 ]; then failed+=("${overrides[*]}"); fi
done 3<<<"$schedule"

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
