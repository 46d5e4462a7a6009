#!/usr/bin/env bash
# Renews mfu_profiler/render/html/assets/vega.js and its licences from the npm packages named in package.json.
set -euo pipefail
cd "$(dirname "$0")"
assets=../../mfu_profiler/render/html/assets

npm ci --no-fund --no-audit --ignore-scripts
node node_modules/esbuild/install.js
node_modules/.bin/esbuild entry.js --bundle --minify --format=iife --global-name=charts --target=es2020 \
    --legal-comments=none --metafile=meta.json --outfile="$assets/vega.js"
if grep -q -i -e '</script' -e '<!--' "$assets/vega.js"; then
    echo "the bundle cannot stand inside an HTML script element" >&2
    exit 1
fi
node licences.mjs meta.json > "$assets/vega.LICENSE.txt"
rm meta.json
