# Runs the stages of a recipe, which sources this file: an array `stages` of "function seconds description", seconds
# being those on two cores, and a function for each.
#
#     run_stages <title>

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

run_stages() {
  local stage name seconds what planned=0
  for stage in "${stages[@]}"; do
    read -r _ seconds _ <<< "$stage"
    planned=$((planned + seconds))
  done
  echo "$1: ${#stages[@]} stages, about $((planned / 60)) minutes on two cores"

  local begin=$SECONDS left=$planned worked=0 expected=0 number=0 estimate start took
  for stage in "${stages[@]}"; do
    read -r name seconds what <<< "$stage"
    number=$((number + 1))
    # the table's seconds, at the pace of the stages that have had work to do
    estimate=$((expected > 0 ? left * worked / expected : left))
    echo
    echo "== stage $number/${#stages[@]}: $what | elapsed $(clock $((SECONDS - begin))) | left about $(clock $estimate)"
    start=$SECONDS
    "$name"
    took=$((SECONDS - start))
    left=$((left - seconds))
    if ((took * 2 > seconds)); then  # less was no work: it was complete, or nearly
      worked=$((worked + took)) expected=$((expected + seconds))
    fi
  done
  echo
  echo "done in $(clock $((SECONDS - begin))): models in weights/, figures in results/"
}

# release <run> <name>: the run's model becomes weights/<name>, whole before the former one goes
release_model() {
  local beside="weights/.$2.new"
  mkdir -p weights
  rm -rf "$beside"
  cp -R "runs/$1/model" "$beside"
  rm -f "$beside/discriminators.safetensors"  # only a training needs them
  rm -rf "weights/$2"
  mv "$beside" "weights/$2"
}
