#!/bin/bash
# the manual pages: no warnings, and every option of --help
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pages=("$BUILD_DIR/mount-helpers/uringfs.8" "$ROOT/mount-helpers/mount.uringfs.8")
command -v groff >/dev/null || skip "no groff"
for page in "${pages[@]}"; do
    [[ -s $page ]] || { fail "$page is missing"; continue; }
    run 0 groff -ww -man -Tutf8 -z "$page"
    [[ ! -s $W/out ]] || { fail "$page:"; cat "$W/out"; }
    if command -v man >/dev/null; then
        MANWIDTH=80 man --warnings=all -E UTF-8 -Tutf8 -l "$page" >"$W/text" 2>"$W/out" || fail "man -l $page"
        [[ ! -s $W/out ]] || { fail "man --warnings $page:"; cat "$W/out"; }
    fi
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        grep -q "^\.SH $section" "$page" || fail "$page has no section $section"
    done
done
groff -man -Tascii -P-cbou -rLL=200n "${pages[0]}" >"$W/text" 2>/dev/null
n=0
while read -r option; do
    n=$((n + 1))
    grep -qF -- "$option" "$W/text" || fail "uringfs.8 does not have the option '$option'"
done < <("$DAEMON" --help | sed -n '/^options /,/^$/s/^  \([^ ]*\).*/\1/p')
((n > 20)) || fail "only $n options were found in --help"
"$DAEMON" --help | sed -n 's/^mount options: //p' | tr -d ' ' | tr ',' '\n' >"$W/words"
while read -r option; do
    grep -qw -- "$option" "$W/text" || fail "uringfs.8 does not have the mount option '$option'"
done <"$W/words"
end
