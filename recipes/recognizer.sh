#!/usr/bin/env bash
# Trains the recogniser that hears people, and measures it:
#
#     recipes/recognizer.sh
#
# datasets/ holds the recordings of configs/data/read_speech.yaml and CUB with captions in datasets/cub:
# docs/recognition.md says where each comes from. The synthetic voices are those of espeak and of the programs flite and
# festival; docs/results.md has a check in voices of Kokoro, an engine that is never trained on. The pronunciations are
# CMUdict's (pip install "saybird[pocketsphinx]"). Stopped or killed, the same command goes on. RECIPE_PYTHON names
# another Python, RECIPE_PROCESSES how many share a batch (2).
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/stages.sh

if [[ $# -ne 0 || ! -d datasets/LibriSpeech || ! -d datasets/cub ]]; then
  echo "usage: recipes/recognizer.sh, with datasets/LibriSpeech, datasets/cub and the other sets beside them" >&2
  exit 2
fi
python="${RECIPE_PYTHON:-.venv/bin/python}"
[[ -x "$python" ]] || python=python3

# stage, seconds on two cores, what it does
stages=(
  "voices   1200  speak captions and books with espeak, flite and Festival"
  "language  120  get texts, and make the language model of the search"
  "lexicon   200  and the pronunciations of its words"
  "read     5900  train on people and these voices, frame by frame"
  "sentence 6300  go on by whole sentences: lattice-free MMI"
  "confide   600  fit the words' confidence on validation clips"
  "release     1  copy the model to weights/"
  "measure   600  measure it on the test sets"
)
spoken() { "$python" -m data.prepare spoken --name "$1" --engines ${2//,/ } --count "$3" --seed "$4" "${@:5}"; }
voices() {
  spoken espeak_train espeak 1500 13
  spoken flite_train flite 1500 11
  spoken festival_train festival 600 12
  spoken synthetic_val flite,festival,espeak 60 14 --texts cub-val --tempo 0.9 1.1
  spoken unheard_flite flite 60 21 --voices never-trained --texts cub-test
  spoken unheard_festival festival 60 21 --voices never-trained --texts cub-test
}
language() {
  [[ -f datasets/texts/sentences.txt ]] || "$python" -m data.prepare texts --download
  recipes/language_model.sh datasets/language_model.safetensors datasets datasets/cub datasets/texts/sentences.txt
}
lexicon()  {
  "$python" -m training.lexicon datasets/lexicon.txt --language-model datasets/language_model.safetensors
}
train()  {
  OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" "$python" -m torch.distributed.run --standalone \
    --nproc-per-node "${RECIPE_PROCESSES:-2}" train_asr.py "$@"
}
read() { train experiment=recognizer_read_speech; }
sentence() { train experiment=recognizer_read_speech_mmi; }
confide()  {
  "$python" -m evaluation.calibrate --recognizer runs/recognizer_read_speech_mmi/model --split val \
    --speech CommonVoice-v1-dev --speech synthetic_val
}
release()  { release_model recognizer_read_speech_mmi recognizer; }
measure()  {
  "$python" -m benchmarks.recognizers --recognizers weights/recognizer --write --speech \
    datasets/LibriSpeech:test-clean datasets/CommonVoice-v1-dev:test datasets/unheard_flite:test \
    datasets/unheard_festival:test
}

run_stages recogniser
