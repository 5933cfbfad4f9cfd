#!/bin/sh
# What some tests are skipped without, and no user needs: a browser (the page of `vla-ros watch`) and
# openpi's own client (`vla-ros serve`), which asks for an older NumPy but runs with ours. Never fails:
# without them the tests say that they were skipped. Run it after `make setup`.
set -u
case $0 in */*) cd "${0%/*}/.." || exit 1 ;; *) cd .. || exit 1 ;; esac

if ! .venv/bin/python -c 'import openpi_client' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --no-deps openpi-client==0.1.2 ||
        echo "openpi-client could not be installed; its tests are skipped" >&2
fi

if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { timeout 120 apt-get -qq update && DEBIAN_FRONTEND=noninteractive timeout 300 \
            apt-get -qq install --yes --no-install-recommends chromium; } >/dev/null 2>&1
    fi
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        echo "no chromium (as root: apt-get install chromium); its tests are skipped" >&2
fi
exit 0
