#!/usr/bin/env bash
# Trains the models of painted birds from nothing and measures them; what they are told is heard by the released
# recogniser, which recipes/recognizer.sh trains:
#
#     recipes/painted_birds.sh quick    three quarters of an hour on two cores
#     recipes/painted_birds.sh full     two hours and a quarter: what the released weights were trained with
#
# Stopped or killed, the same command goes on: every stage resumes itself and is over at once when complete.
# Runs lie in runs/, the finished models go to weights/, the figures to results/. RECIPE_PYTHON names another Python.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/stages.sh

size="${1:-}"
case "$#$size" in
  1quick) damsm=570 attngan=1830 ;;  # seconds
  1full) damsm=1850 attngan=5400 ;;
  *) echo "usage: recipes/painted_birds.sh quick|full" >&2; exit 2 ;;
esac
python="${RECIPE_PYTHON:-.venv/bin/python}"
[[ -x "$python" ]] || python=python3

# stage, seconds on two cores, what it does
stages=(
  "birds       120  draw the painted birds"
  "voices       35  speak their captions"
  "parts        30  train the part-colour classifier"
  "damsm $damsm  train the text and image encoders (DAMSM)"
  "attngan $attngan  train the generator (AttnGAN, 64 and 128 px)"
  "release       1  copy the models to weights/"
  "measure     210  measure them on the test set"
)

# the part classifier is the same in both sizes, and trained once
run_of() { case $1 in parts) echo "${1}_painted" ;; *) echo "${1}_painted_$size" ;; esac; }

birds()      { "$python" -m data.prepare painted_birds; }
voices()     { "$python" -m data.prepare spoken_captions; }
parts()      { "$python" train_classifier.py experiment="$(run_of parts)" run.name="$(run_of parts)"; }
damsm()      { "$python" train_encoder.py experiment="$(run_of damsm)" run.name="$(run_of damsm)"; }
attngan()    {
  "$python" train_gan.py experiment="$(run_of attngan)" run.name="$(run_of attngan)" \
    encoder="runs/$(run_of damsm)/model"
}
release()    {
  local model
  for model in parts damsm attngan; do
    release_model "$(run_of "$model")" "painted-$model"
  done
  ls -d weights/painted-*
}
measure()    {
  local metric
  mkdir -p results
  for metric in part_colours r_precision colour_edits variety is fid kid wer cer; do
    "$python" evaluate.py --metric "$metric"
  done
  "$python" evaluate.py --metric part_colours --from transcript
}

run_stages "$size"
