# What the scripts that plant bugs share; sourced by them. They give `targets`, `folder` (of the files that bugs are planted in) and
#   run_test ARGUMENTS...  that fails when the bug is found, its output in $work/test.log
#   found ARGUMENTS...     that says by what
# and take DIRECTORY [NUMBER...]. DIRECTORY is made: a copy of the tree, built there. Prints one line a bug.
work=$1
shift
only=" $* "
number=0
unfound=0

build() { ninja -C "$tree/build" -j "${JOBS:-2}" "${targets[@]}" >"$work/build.log" 2>&1; }

prepare() {
  local source_tree
  source_tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  tree=$work/tree
  mkdir -p "$work"
  if [ ! -d "$tree" ]; then
    mkdir "$tree"
    git -C "$source_tree" ls-files -z -co --exclude-standard | tar -C "$source_tree" --null -T - -c | tar -C "$tree" -x
    cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DQUENCH_BUILD_TESTS=ON -DQUENCH_CUDA=OFF >"$work/configure.log" 2>&1
  fi
  build
}

# bug NAME FILE SED ARGUMENTS...: run_test must fail with FILE changed by SED.
bug() {
  local name=$1 file=$2 change=$3
  shift 3
  number=$((number + 1))
  [ "$only" = "  " ] || [[ $only == *" $number "* ]] || return 0
  local whole=$tree/$folder$file
  cp -p "$whole" "$work/saved"
  sed -i -E "$change" "$whole"
  if cmp -s "$whole" "$work/saved"; then
    echo "$number $name: the pattern fits nothing in $file"
    unfound=$((unfound + 1))
    return 0
  fi
  if ! build; then
    echo "$number $name: does not compile, see $work/build.log"
    unfound=$((unfound + 1))
  elif run_test "$@" >"$work/test.log" 2>&1; then
    echo "$number $name: NOT FOUND"
    unfound=$((unfound + 1))
  else
    echo "$number $name: found $(found "$@")"
  fi
  cp -p "$work/saved" "$whole"
  touch "$whole"
}

# Ends with the number that went unfound.
finish() {
  echo "$unfound of $number unfound"
  exit $((unfound > 0))
}
