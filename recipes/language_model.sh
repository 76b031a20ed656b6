#!/usr/bin/env bash
# Makes the language model of general speech and descriptions of birds, and measures its perplexity:
#
#     recipes/language_model.sh FILE SPEECH BIRDS [TEXT ...]
#
# FILE: where it goes, e.g. weights/<recogniser>/language_model.safetensors. SPEECH: the folder of LJSpeech-1.1,
# LibriSpeech, CommonVoice-v1-dev and speechocean762. BIRDS: CUB with captions. TEXT: files with a sentence a line; that
# of python -m data.prepare texts --download takes a fifth off the perplexity of read speech. Two minutes and 2 GB of
# memory. RECIPE_PYTHON names another Python.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -ge 3 ]] || { echo "usage: recipes/language_model.sh FILE SPEECH BIRDS [TEXT ...]" >&2; exit 2; }
file="$1" speech="$2" birds="$3"
shift 3
python="${RECIPE_PYTHON:-.venv/bin/python}"
[[ -x "$python" ]] || python=python3

held="$(mktemp)"  # LJSpeech's clips of validation and test, and those kept for measuring
trap 'rm -f "$held"' EXIT
{ cat "$speech"/LJSpeech-1.1/splits/{val,test}.txt; printf 'LJ002-%04d\n' {151..200}; } \
  | awk -F'|' 'NR == FNR { held[$1]; next } $1 in held { print $3 }' - "$speech/LJSpeech-1.1/metadata.csv" > "$held"

# what is measured on must not be learnt, also where a book has the same sentence
left_out=(--leave-out "$held")
for split in LibriSpeech:test-clean CommonVoice-v1-dev:val CommonVoice-v1-dev:test speechocean762:test; do
  left_out+=(--leave-out "$speech/$split")
done
texts=()
for text in "$@"; do texts+=(--text "read=$text"); done
"$python" -m training.language_model "$file" \
  --text "read=$speech/LJSpeech-1.1:train" --text "read=$speech/LibriSpeech:train-clean-100" \
  --text "read=$speech/LibriSpeech:train-clean-5" --text "read=$speech/CommonVoice-v1-dev:train" \
  --text "read=$speech/speechocean762:train" "${texts[@]}" \
  --text "birds=$birds:train" --text birds=painted_birds:train --prune 3 "${left_out[@]}" \
  --held-out "librispeech=$speech/LibriSpeech:test-clean" --held-out "commonvoice=$speech/CommonVoice-v1-dev:test" \
  --held-out "ljspeech=$held" --held-out "cub=$birds:test" --held-out painted=painted_birds:test
