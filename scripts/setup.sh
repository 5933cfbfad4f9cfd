#!/bin/sh
# Makes .venv ready: finds a Python 3.12, which then runs scripts/install.py for everything else.
# Plain sh, because the `python3` on PATH may be too old for us, or absent.
set -u
case $0 in */*) cd "${0%/*}/.." || exit 1 ;; *) cd .. || exit 1 ;; esac

# The usual case, done in a tenth of a second: nothing has changed. -S keeps ROS's start-up hook out.
if [ -x .venv/bin/python ] && .venv/bin/python -E -S scripts/install.py --check 2>/dev/null; then
    exit 0
fi

on_path() { # NAME: each executable of that name on PATH, one a line (a failing shim may hide a good one)
    old_ifs=$IFS
    IFS=:
    set -f
    for folder in $PATH; do
        [ "$folder" -ef .venv/bin ] && continue # an activated .venv cannot make itself anew
        if [ -x "$folder/$1" ] && [ ! -d "$folder/$1" ]; then printf '%s\n' "$folder/$1"; fi
    done
    set +f
    IFS=$old_ifs
}

candidates() {
    # The Python that .venv was made with: whoever named it once need not name it again.
    [ -x .venv/bin/python ] &&
        .venv/bin/python -E -S -c 'import sys; print(sys._base_executable)' 2>/dev/null
    on_path python3.12
    for root in "${PYENV_ROOT:-${HOME:-}/.pyenv}" "$(pyenv root 2>/dev/null)"; do
        for file in "$root"/versions/3.12*/bin/python3.12; do
            if [ -x "$file" ]; then printf '%s\n' "$file"; fi
        done
    done
    on_path python3
    on_path python
}

# A shim can exist and still refuse to run, so each candidate is started.
version_of() {
    "$1" -S -c 'import sys; print("%s %d.%d" % ((sys.implementation.name,) + sys.version_info[:2]))' \
        2>/dev/null </dev/null
}
is_complete() { "$1" -c 'import ensurepip, venv, ssl, ctypes, lzma, bz2' >/dev/null 2>&1 </dev/null; }

find_python() { # prints the first complete Python 3.12, else the first that at least runs
    fallback=
    while IFS= read -r file; do
        [ "$(version_of "$file")" = "cpython 3.12" ] || continue
        if is_complete "$file"; then
            printf '%s\n' "$file"
            return
        fi
        fallback=${fallback:-$file}
    done
    printf '%s\n' "$fallback"
}

stop() { # WHAT MEND
    printf 'set-up stopped: %s\n  mend: %s\n' "$1" "$2" >&2
    exit 1
}

if [ -n "${PYTHON:-}" ]; then
    python=$(command -v "$PYTHON") || stop "PYTHON=$PYTHON is not a program." \
        "give the path of a Python 3.12, as in: make setup PYTHON=/usr/bin/python3.12"
    found=$(version_of "$python")
    [ "$found" = "cpython 3.12" ] || stop \
        "PYTHON=$PYTHON is not a Python 3.12 (it says: ${found:-nothing, it does not run})." \
        "give the path of a Python 3.12, or leave PYTHON out and let set-up look for one"
else
    python=$(candidates | find_python)
    if [ -z "$python" ]; then
        tried=$(candidates | while IFS= read -r file; do
            version=$(version_of "$file")
            printf '%s (%s), ' "$file" "${version:-does not run}"
        done)
        tried=${tried%, }
        stop "no Python 3.12 found; tried: ${tried:-no python at all is on PATH}." \
            "sudo apt-get install python3.12 python3.12-venv (Ubuntu 24.04), or: pyenv install 3.12, or name one: make setup PYTHON=/path/to/python3.12"
    fi
fi

exec "$python" scripts/install.py
