#!/usr/bin/env bash
# A Chromium for the browser tests: the one that is there, else the distribution's.
set -euo pipefail
for name in chromium chromium-browser google-chrome chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then
  echo "The browser tests need Chromium, and this system has no apt-get to install it: install Chromium or Chrome," \
    "or run pytest -m 'not browser'." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "The browser tests need Chromium, and only root may install it: ask for 'apt-get install chromium'," \
      "or run pytest -m 'not browser'." >&2
    exit 1
  fi
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
