#!/usr/bin/env bash
# Trains the models of real birds and measures them:
#
#     recipes/real_birds.sh datasets/cub datasets/networks
#
# The first folder is CUB-200-2011 in StackGAN's layout, the second holds torchvision's ImageNet weights as .safetensors
# or .pth: mobilenet_v2*, which the models learn from, squeezenet1_1*, which the second encoder does, and inception_v3*,
# which only measures. Stopped or killed, the same command goes on. RECIPE_PYTHON names another Python.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/stages.sh

if [[ $# -ne 2 || ! -d "$1/CUB_200_2011" || ! -d "$2" ]]; then
  echo "usage: recipes/real_birds.sh <CUB in StackGAN's layout> <folder of ImageNet networks>" >&2
  exit 2
fi
data="$1"
network_of() {
  local file
  for file in "$networks/$1"*.safetensors "$networks/$1"*.pth; do
    [[ -f "$file" ]] && echo "$file" && return
  done
  echo "no $1*.safetensors or .pth in $networks" >&2
  return 1
}
networks="$2"
mobilenet=$(network_of mobilenet_v2)
squeezenet=$(network_of squeezenet1_1)
inception=$(network_of inception_v3)
case "$(realpath -s "$data")" in  # where evaluate.py has it too
  "$(realpath datasets)"/*) cache=$data/cache ;;
  *) cache=datasets/cache/$(basename "$(realpath "$data")") ;;
esac
python="${RECIPE_PYTHON:-.venv/bin/python}"
[[ -x "$python" ]] || python=python3
set_words=(data.root="$data" data.cache="$cache")

# stage, seconds on two cores, what it does
stages=(
  "damsm    1700  train the text and image encoders (DAMSM, MobileNetV2)"
  "long     3500  train them for longer, to search and to rank with"
  "second    540  train another pair for the measures (SqueezeNet)"
  "painter  3200  train the generator at 64 px (projected discriminators)"
  "grown    2950  go on with it at 128 px"
  "attngan  3600  train AttnGAN, 64 and 128 px, before the same discriminators"
  "release     1  copy the models to weights/"
  "measure  3000  measure them on the test photographs"
)

damsm()   { "$python" train_encoder.py experiment=damsm_real backbone_weights="$mobilenet" "${set_words[@]}"; }
long()    { "$python" train_encoder.py experiment=damsm_real_long backbone_weights="$mobilenet" "${set_words[@]}"; }
second()  { "$python" train_encoder.py experiment=damsm_real_second backbone_weights="$squeezenet" "${set_words[@]}"; }
painter() { "$python" train_gan.py experiment=projected_real_64 backbone_weights="$mobilenet" "${set_words[@]}"; }
grown()   { "$python" train_gan.py experiment=projected_real backbone_weights="$mobilenet" "${set_words[@]}"; }
attngan() { "$python" train_gan.py experiment=attngan_real backbone_weights="$mobilenet" "${set_words[@]}"; }
release() {
  release_model damsm_real_long real-damsm
  release_model projected_real real-projected
  ls -d weights/real-*
}
measure() {
  local encoder model
  mkdir -p results
  for encoder in weights/real-damsm runs/damsm_real_second/model; do
    "$python" evaluate.py --metric retrieval --encoder "$encoder" --data "$data"
  done
  for model in weights/real-projected runs/attngan_real/model "photographs --size 128 --finder weights/real-damsm"; do
    # several words where it is photographs
    "$python" evaluate.py --metric fid,kid,coverage,is --model $model --data "$data" --network "$inception"
    "$python" evaluate.py --metric r_precision --model $model --encoder runs/damsm_real_second/model --data "$data"
  done
  "$python" evaluate.py --metric r_precision --model real --encoder weights/real-damsm --data "$data"
  "$python" -m recipes.curve runs/projected_real --data "$data" --network "$inception"
  "$python" -m recipes.real_gallery --data "$data" --network "$inception" --attngan runs/attngan_real/model
}

run_stages "real birds"
