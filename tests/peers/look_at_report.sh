#!/usr/bin/env bash
# Pictures of a report's page in headless Chromium: light and dark, 1280 and 400 pixels wide, parts folded and open.
#   tests/peers/look_at_report.sh REPORT_DIR [PICTURES_DIR]       (Debian: apt-get install chromium)
# Fails when the browser refuses part of the page by its Content-Security-Policy.
set -euo pipefail
report=$(realpath "$1")
pictures=${2:-$report/pictures}
mkdir -p "$pictures"
command -v chromium >/dev/null || { echo "no chromium: apt-get install chromium" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed 's/<details>/<details open>/g' "$report/index.html" >"$work/open.html"
cp "$report/index.html" "$work/folded.html"
failed=0
for page in folded open; do
  for theme in light dark; do
    for width in 1280 400; do
      # Headless Chromium makes no window narrower than 500 pixels; a frame of that width is as narrow as asked for.
      printf '<!doctype html><meta charset="utf-8"><style>body{margin:0}iframe{border:0;width:%spx;height:6000px}</style><iframe src="%s.html"></iframe>' \
        "$width" "$page" >"$work/frame.html"
      flags=(--headless=new --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files
        --user-data-dir="$work/profile" --window-size="$((width < 500 ? 500 : width)),6000")
      [ "$theme" = dark ] && flags+=(--blink-settings=preferredColorScheme=0 --force-dark-mode)
      [ "$theme" = light ] && flags+=(--blink-settings=preferredColorScheme=1)
      timeout 60 chromium "${flags[@]}" --enable-logging=stderr --screenshot="$pictures/$page-$theme-$width.png" "file://$work/frame.html" \
        >"$work/log" 2>&1 || { cat "$work/log"; failed=1; }
      if grep -q "Content Security Policy" "$work/log"; then grep "Content Security Policy" "$work/log"; failed=1; fi
    done
  done
done
exit $failed
